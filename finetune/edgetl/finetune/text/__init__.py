"""Text classification: sentences and their labels, encoders of the BERT family, and what trains them."""
