"""Reading the database of CompreFace, for the import of its people; nothing here writes to it."""
