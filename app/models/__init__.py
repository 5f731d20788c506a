"""Models: how each was judged, which one is in use, and how another one comes into use."""
