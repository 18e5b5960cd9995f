"""Checkpoints of other tools: read them into a trajectory, write snapshots as state dicts.

The way in: `files` (which, in what order), `reading` (a file or folder as name -> tensor), `steps`, `matching`
(names to layout), `element_types`, `importing` (one snapshot after the other into an HDF5 file), `report` (what
was found). `exporting` goes back.
"""
