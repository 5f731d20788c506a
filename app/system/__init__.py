"""What is running here, really."""
