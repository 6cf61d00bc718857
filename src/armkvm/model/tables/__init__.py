"""Facts of the model as rows; no behaviour."""
