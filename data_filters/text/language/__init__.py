"""In which language and script a text is written, and one normal form of its letters."""
