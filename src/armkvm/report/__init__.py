"""Values as text, tables and JSON trees. Nothing here prints."""
