"""`divmatch help TOPIC`: what does not belong to one command."""

import click

from divmatch.catalogue import EVERY
from divmatch.cli.command import Command
from divmatch.errors import SettingError, suggestion

TOPICS = {
    "exit-codes": """\
0    done; any limit passed
1    done; the data failed a limit, and nothing else ever gives 1
2    usage, configuration or input error
3    inconclusive: too few rows, singular, not finite; --inconclusive pass|fail overrides
4    output error (disk full, cannot rename) or out of memory
70   internal error; DIVMATCH_DEBUG=1 shows the traceback
130 141 143   death by SIGINT, SIGPIPE, SIGTERM
When several apply: 70, 4, 2, 1, 3, 0, the first that does.""",
    "metrics": """\
name[:key=value,...], several separated by commas:
energy,mmd:kernel=laplace,bandwidth=2,kl:k=5,method=knn
The keys are the options of the command called name, without dashes. In `score`, the bandwidth of
mmd is the reference's (bandwidth=reference), so that all rows of the table share one kernel.""",
    "ties": """\
Tied rows are at distance zero, and the neighbour-distance estimators of kl take its logarithm.
--ties error (the default) refuses them with their number; --ties drop leaves such rows out of the
mean; --ties jitter adds uniform noise of 1e-10 of each column's range. Both say so in a warning.
energy, mmd, sliced, test --statistic knn and kl --method gaussian take ties as they are.""",
    "files": """\
.npy  .npz::key  .parquet (a file, a folder, a quoted glob)  .csv  .tsv  .ndjson  .jsonl  and - for
standard input, at most once. file::name picks an array of an .npz or one column, such as a list
column of embeddings. Nothing is ever unpickled. Text columns become one 0/1 column a category,
scaled so that two different categories lie at distance 1. A text column of a .csv or .tsv whose
words are mostly numbers is refused, for a single bad cell would make every number a category;
where they are codes, --columns '*,cat:zip' says so. A blank line is a missing value where a .csv or
.tsv has one column, and nothing where it has several.
Two kinds of .npz stand in the place of rows where a command says so. Moments: mean (d,) and cov (d, d),
or mu and sigma. A Gaussian mixture: weights (K,) with the sum 1, means (K, d), covariances (K, d, d), (K, d)
or (K,); `match mixture` writes it. Both may hold n, the number of rows behind them.""",
    "formats": """\
-f text|value|json|ndjson|csv|tsv|markdown|junit|github   on standard output
-o FILE   also a file, by suffix: .json .ndjson .csv .tsv .md .txt .xml .parquet; repeatable; .npz is the
          transport plan of ot and sinkhorn
Files appear whole or not at all, before the exit code is decided. JSON follows `divmatch schema
result`. Numbers round-trip in JSON and CSV, and have four digits in text.""",
}


def _run(topic: str | None) -> int:
    if topic is None:
        click.echo("topics: " + ", ".join([*TOPICS, "warnings"]))
    elif topic == "warnings":
        from divmatch.record import CODES

        for code, meaning in CODES.items():
            click.echo(f"{code}  {meaning}")
    elif topic in TOPICS:
        click.echo(TOPICS[topic])
    else:
        known = [*TOPICS, "warnings"]
        if topic in EVERY:
            raise SettingError(f"'{topic}' is a command; see divmatch {topic} --help")
        raise SettingError(
            f"no help on '{topic}'{suggestion(topic, known)} (topics: {', '.join(known)})"
        )
    return 0


COMMANDS: dict[str, click.Command] = {
    "help": Command(
        "help",
        callback=_run,
        params=[click.Argument(["topic"], required=False)],
        examples=("divmatch help", "divmatch help exit-codes", "divmatch help warnings"),
        help="Explain exit codes, warnings, metrics, ties, formats or files.",
    )
}
