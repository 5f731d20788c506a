"""Unknown faces: who they look like, who they are, and what that says about the error rates."""
