"""What divmatch can do: one line each, readable without importing anything.

Help, completion and suggestions read these tables; a test compares them with the declarations.
"""

QUANTITIES = {  # commands that compare two samples: name -> (module that declares it, help)
    "kl": ("divmatch.estimators.kl", "Kullback-Leibler divergence KL(P || Q), from nearest-neighbour distances."),
    "mmd": ("divmatch.estimators.mmd", "Squared maximum mean discrepancy between two samples, unbiased (U-statistic)."),
    "energy": ("divmatch.estimators.energy", "Energy distance between two samples, unbiased (U-statistic)."),
    "sliced": ("divmatch.transport.sliced", "Sliced Wasserstein distance between two samples."),
}  # fmt: skip

STATISTICS = {  # statistics of `divmatch test` that are no command of their own
    "knn": ("divmatch.estimators.neighbour_share", "Excess share of nearest neighbours from the own sample."),
}  # fmt: skip

COMMANDS = {  # everything else: name -> (module of the command, help)
    "test": ("divmatch.cli.test", "Two-sample test: could both files come from one distribution?"),
    "score": ("divmatch.cli.score", "Score many sample sets against one reference: one row each."),
    "list": ("divmatch.cli.housekeeping", "List the quantities, their methods and units."),
    "info": ("divmatch.cli.housekeeping", "Describe a data file: rows, columns, ranges, missing values."),
    "schema": ("divmatch.cli.housekeeping", "Print the JSON schema of results."),
    "config": ("divmatch.cli.config", "Show or check the defaults in force."),
    "doctor": ("divmatch.cli.housekeeping", "Report versions, cores, memory and device of this installation."),
    "warm-up": ("divmatch.cli.housekeeping", "Compile every kernel now, so that no later command waits."),
    "completion": ("divmatch.cli.housekeeping", "Print the completion script for bash, zsh or fish."),
    "help": ("divmatch.cli.topics", "Explain exit codes, warnings, metrics, ties, formats or files."),
}  # fmt: skip

SECTIONS = {
    "Estimate one quantity, P (the reference) first": tuple(QUANTITIES),
    "Decide": ("test",),
    "Batch": ("score",),
    "Housekeeping": tuple(name for name in COMMANDS if name not in ("test", "score")),
}
