"""How good is it on these photos: a folder -> protocol -> samples -> searches -> error rates -> report.

protocol   who is enrolled with which photos, who is searched, who is a stranger
samples    every photo through the product's own FaceEngine, kept in a cache
searches   gallery and probes as arrays; the outcome of an image as the service decides it
variants   ways to turn cosines into a score, the product's own among them
sizes      the same by gallery size, and what was promised against what is shown
fusion     many templates or one: ways to combine a person's photos, and to search what they make
pooling    one decision from several frames: the product's way beside others
prior      the tables of `ml.priors`
report     all of it as one HTML page and one JSON file
"""
