"""What was decided about each face: kept for a while, previewed, and judged by operators."""
