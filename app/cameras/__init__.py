"""Cameras: who sends pictures, from where, with which key and how wrong a clock."""
