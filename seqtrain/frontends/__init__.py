"""How the positions of a source become vectors, and how many are left: one file a frontend; what they share is in
`base.py`."""
