"""Words that options, computations and files share: each list stands here once."""

from __future__ import annotations

NORMALIZATIONS = ("filter", "layer", "weight", "none")
"""Scalings of random directions (Li et al. 2018, section 4)."""
ONE_D_POLICIES = ("ignore", "norm")
"""Ways of random directions with parameters of at most one dimension."""
GENERATORS = ("streams", "blocks")
"""Generators of random directions: files that name none have the first."""
MANY_NUMBERS = 2**24
"""Moving numbers from which random directions come from the second generator by default."""
DISSIMILARITIES = ("euclidean", "cosine-chord", "one-minus-cosine")
"""Measures of the distance between snapshots."""
EMBEDDINGS = ("classical", "metric")
"""Methods of multidimensional scaling."""
CENTERS = ("mean", "last", "initial")
"""Choices of what is subtracted from snapshots before principal components."""
RECALIBRATE = "recalibrate"
POLICIES = ("frozen", "interpolate", RECALIBRATE)
"""Policies for the statistics of batch normalisation away from a snapshot."""
IN_PLACE = "in-place"
ENGINES = ("auto", "sequential", "batched", IN_PLACE)
"""Engines that evaluate points of a plane."""
MATRICES = ("hessian", "gauss-newton", "fisher", "empirical-fisher")
"""Curvature matrices."""
TRACE_METHODS = ("auto", "exact", "hutchinson", "hutch++", "xtrace")
FROBENIUS_METHODS = TRACE_METHODS[:-1]
"""Ways to take a trace, and a Frobenius norm."""
SCATTERED = "scattered"
"""Traces of all micro-batches, each with random signs of its own: one more way for those of measures."""
NORMS = ("l2", "linf")
"""Norms of the balls that measures look into."""
UNITS = ("element", "filter", "none")
"""Units of distances: each weight itself, the norm of its filter, or 1."""
FEWEST_DRAWS = 8
"""Draws of a chain below which nothing tells how it mixes."""
DTYPES = ("float32", "float64")
"""Types in which derivatives are taken."""
PRODUCTS = ("auto", "finite-difference")
"""Ways to take products with curvature matrices."""
RECORDED = ("update", "preconditioner", "lr")
"""Parts of the optimizer step after a snapshot that can be recorded."""
ADJUSTMENTS = ("original", "match_rms_adamw", "spectral_unclamped", "none")
"""Rules by which Muon scales its rate with the shape of a matrix."""
SCHEDULES = ("constant", "step", "cosine", "linear")
"""Schedules of a learning rate."""
AVERAGES = ("old", "new")
"""Choices of what the weight of a running average is of."""
WALK_NOISES = ("code", "paper")
"""Conventions for the noise of a walk."""
STARTS = ("shuffled", "same")
"""Where replicas start."""
SPLITS = ("train", "test")
METRICS = ("loss", "error")
# One repeat is a plane; a thousand lines tell a share of directions to 1.6 %, and nobody draws more.
SPAN = (2, 1_000)
"""The least and the most repeats that can be compared."""
DEVICES = ("auto", "cpu", "cuda", "mps")
"""Where things are computed; one of several CUDA devices by its number, as in cuda:1."""
DEVICE = "auto"
"""That where nothing else is asked for: a CUDA device where there is one, else Apple's, else the processor."""
PAGE_OPTIONS = ("style", "width", "height", "title", "dpi", "transparent", "no_caption")
"""Options of a look that every picture heeds."""
SCALE_OPTIONS = ("vmin", "vmax", "log")
"""Those of pictures with a scale of values: of colours, or an axis."""
PANEL_OPTIONS = ("columns", "share")
"""Those of pictures of panels that are arranged beside each other."""
MAP_OPTIONS = ("cmap", "levels")
"""Those of maps with level lines."""
