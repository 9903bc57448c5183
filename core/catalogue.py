"""What divmatch can do: one line each, readable without importing anything.

Help, completion and suggestions read this table; a test compares it with the declarations.
"""

QUANTITIES = {  # name -> (module that declares it, one line of help)
    "kl": ("divmatch.estimators.kl", "Kullback-Leibler divergence KL(P || Q)."),
    "mmd": ("divmatch.estimators.mmd", "Squared maximum mean discrepancy between two samples."),
    "energy": ("divmatch.estimators.energy", "Energy distance between two samples."),
    "sliced": ("divmatch.transport.sliced", "Sliced Wasserstein distance between two samples."),
}
