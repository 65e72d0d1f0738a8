"""What the student is taught toward: a live teacher, or targets cached on disk."""
