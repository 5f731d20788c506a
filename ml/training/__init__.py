"""Retraining: data split by people and time, strategies that learn from it, and the judge who compares them.

Every strategy trains with a softmax-type head over the training people, which is thrown away afterwards: what is kept
turns chips into embeddings that are worth something for people whom it has never seen.
"""
