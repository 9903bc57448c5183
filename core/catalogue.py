"""What divmatch can do: one line each, readable without importing anything.

Help, completion and suggestions read these tables; a test compares them with the declarations.
"""

QUANTITIES = {  # commands that compare two samples: name -> (module that declares it, help)
    "kl": ("divmatch.estimators.families", "Kullback-Leibler divergence KL(P || Q), by the method that held-out rows speak for."),
    "renyi": ("divmatch.estimators.families", "Renyi divergence of order a, by the method that held-out rows speak for."),
    "fdiv": ("divmatch.estimators.families", "f-divergence between two samples, by the method that held-out rows speak for."),
    "cs": ("divmatch.estimators.cauchy_schwarz", "Cauchy-Schwarz divergence between two samples, without each row's kernel with itself."),
    "prdc": ("divmatch.estimators.prdc", "Precision, recall, density, coverage of P's rows by Q's, and Q's authenticity."),
    "c2st": ("divmatch.estimators.network", "Classifier two-sample test: twice the balanced accuracy on held-out rows, less one."),
    "mmd": ("divmatch.estimators.mmd_methods", "Squared maximum mean discrepancy between two samples, unbiased (U-statistic)."),
    "energy": ("divmatch.estimators.energy", "Energy distance between two samples, unbiased (U-statistic)."),
    "sinkhorn": ("divmatch.transport.sinkhorn", "Sinkhorn divergence between two samples, by iterations and sparse Newton steps."),
    "sliced": ("divmatch.transport.sliced_methods", "Sliced Wasserstein distance between two samples."),
    "frechet": ("divmatch.transport.frechet_methods", "Squared Fréchet (Bures-Wasserstein) distance between fitted Gaussians, without its bias."),
    "ot": ("divmatch.transport.ot_methods", "Exact Wasserstein distance between two samples, with a certificate."),
}  # fmt: skip

SINGLES = {  # commands that look at one sample: name -> (module that declares it, help)
    "ksd": ("divmatch.estimators.stein", "Squared kernel Stein discrepancy of a sample from a known density, unbiased."),
    "dcor": ("divmatch.estimators.dependence", "Squared distance correlation between columns of one sample, bias-corrected."),
    "mi": ("divmatch.estimators.mutual_information_methods", "Mutual information between columns of one sample, from neighbour distances (KSG)."),
    "tails": ("divmatch.estimators.tails", "How heavy the tails of a sample are: 1 like a Gaussian, more where rows lie far out."),
}  # fmt: skip

SHAPED = {  # quantities whose inputs have a shape of their own: name -> (module that declares it, help)
    "align": ("divmatch.estimators.alignment", "Alignment of two embeddings of the same rows: the share of nearest neighbours in common."),
    "prototypes": ("divmatch.estimators.prototypes", "Mean log ratio of the distances to the nearest other prototype and to the own one."),
    "klom": ("divmatch.estimators.klom", "KL of margins: how far the margins of unlearned models are from those of oracle models."),
    "density-gap": ("divmatch.estimators.density_gap", "KL between the aggregated posterior of an autoencoder and its standard normal prior."),
}  # fmt: skip

STATISTICS = {  # statistics of `divmatch test` that are no command of their own
    "knn": ("divmatch.estimators.neighbour_share", "Excess share of nearest neighbours from the own sample."),
}  # fmt: skip

COMMANDS = {  # everything else: name -> (module of the command, help)
    "probs": ("divmatch.cli.probs", "Row-wise divergences of probabilities, logits or counts."),
    "marginals": ("divmatch.cli.marginals", "Compare two tables column by column: W1, KS, JS, PSI, chi2, missing values."),
    "explain": ("divmatch.cli.explain", "Which columns, pairs of columns and regions make Q differ from P."),
    "best-of-n": ("divmatch.cli.best_of_n", "KL between the best of n outputs and the base model."),
    "test": ("divmatch.cli.test", "Two-sample test: could both files come from one distribution?"),
    "memorisation": ("divmatch.cli.memorisation", "Has a generator memorised its training rows? Train, test and generated compared."),
    "compare": ("divmatch.cli.compare", "Is A nearer to REF than B? The difference, its interval, a verdict."),
    "rank": ("divmatch.cli.rank", "League table of sample sets, with groups that cannot be told apart."),
    "score": ("divmatch.cli.score", "Score many sample sets against one reference: one row each."),
    "matrix": ("divmatch.cli.matrix", "Divergences of all pairs of sample sets as a square table."),
    "match": ("divmatch.cli.match", "Match P with Q: weigh its rows, pair, pick, move or project them."),
    "list": ("divmatch.cli.housekeeping", "List the quantities, their methods and units."),
    "info": ("divmatch.cli.housekeeping", "Describe a data file: rows, columns, ranges, missing values."),
    "schema": ("divmatch.cli.housekeeping", "Print the JSON schema of results."),
    "config": ("divmatch.cli.config", "Show or check the defaults in force."),
    "doctor": ("divmatch.cli.housekeeping", "Report versions, cores, memory and device of this installation."),
    "warm-up": ("divmatch.cli.housekeeping", "Compile every kernel now, so that no later command waits."),
    "completion": ("divmatch.cli.housekeeping", "Print the completion script for bash, zsh or fish."),
    "help": ("divmatch.cli.topics", "Explain exit codes, warnings, metrics, ties, formats or files."),
}  # fmt: skip

MATCHES = {  # commands of `divmatch match`: name -> (module that declares it, help)
    "weights": ("divmatch.transport.weights_methods", "Weights of P's rows that reproduce moments of Q, or given totals, as near to equal as can be."),
    "plan": ("divmatch.transport.pairing", "Pairs of rows of P and Q by the cheapest transport plan, or one to one."),
    "select": ("divmatch.transport.select_methods", "K rows of P that represent Q, or P itself: greedy in the maximum mean discrepancy."),
    "map": ("divmatch.transport.map_methods", "Rows of P moved onto Q by a map that is fitted once and applied to any other rows."),
    "flow": ("divmatch.transport.flow_methods", "Rows of P moved along a gradient flow until they are as near to Q as its own rows are."),
    "sample": ("divmatch.transport.sample_methods", "Particles of a density that is known up to a constant, by Stein variational gradient descent."),
}  # fmt: skip

MATCH_COMMANDS = {  # commands of `divmatch match` with no method to choose: name -> (module, help)
    "mixture": ("divmatch.cli.match_mixture", "Gaussian mixtures fitted to rows, merged, and reduced to fewer components."),
    "project": ("divmatch.cli.match_project", "Rows of probabilities replaced by the nearest ones: on few classes, of an entropy, within limits."),
}  # fmt: skip
MATCH_EVERY = MATCHES | MATCH_COMMANDS  # what `divmatch match NAME` takes

EVERY = QUANTITIES | SINGLES | SHAPED | COMMANDS  # what `divmatch NAME` takes

SECTIONS = {
    "Estimate one quantity, P (the reference) first": tuple(QUANTITIES),
    "Estimate one quantity of one file": tuple(SINGLES),
    "Estimate one quantity, inputs of their own shape": tuple(SHAPED),
    "Column by column, P (the reference) first": ("marginals", "explain"),
    "Matching rows, teacher P and student Q": ("probs", "best-of-n"),
    "Decide": ("test", "compare", "rank", "memorisation"),
    "Batch": ("score", "matrix"),
    "Match distributions": ("match",),
    "Housekeeping": tuple(
        n
        for n in COMMANDS
        if n
        not in (
            "probs",
            "marginals",
            "explain",
            "best-of-n",
            "test",
            "compare",
            "rank",
            "memorisation",
            "score",
            "matrix",
            "match",
        )
    ),
}
