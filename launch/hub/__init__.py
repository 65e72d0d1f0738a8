"""What is published of a run: the gates, the folder, its card, and the upload."""
