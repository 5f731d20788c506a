"""Pictures of faces that are kept for people to look at: what is cut out, how long it is kept, who may see it."""
