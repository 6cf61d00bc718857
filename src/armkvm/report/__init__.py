"""Values into text and JSON. Nothing here prints or reads."""
