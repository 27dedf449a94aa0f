"""What a command prints, as it printed it.

A cell's output comes in chunks that end anywhere; MyST-NB ends each with a new line when it merges them, in the middle of words.
Here chunks of one stream are put together first.
"""

from myst_nb.core import render

_merged = render.coalesce_streams


def joined(outputs):
    """The outputs with one chunk for each run of chunks of one stream; other outputs part runs."""
    out = []
    last = {}
    for output in outputs:
        if output["output_type"] != "stream":
            last = {}
            out.append(output)
        elif output["name"] in last:
            last[output["name"]]["text"] += output["text"]
        else:
            last[output["name"]] = output
            out.append(output)
    return out


def setup(app):
    render.coalesce_streams = lambda outputs: _merged(joined(outputs))
    return {"version": "1", "parallel_read_safe": True}
