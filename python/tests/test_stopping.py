"""Ctrl-C, stops, checkpoints, threads and forks."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest

import scgraft as sg

LONG = dict(model="scvi", batch_key="batch", max_epochs=100_000, early_stopping=False, hidden=[32], progress=False)


@pytest.fixture(autouse=True)
def listening():
    """What runs in the background of a script is started deaf to Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_stops_within_a_second(sim):
    started = threading.Event()

    def press():
        started.wait(30)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        sg.train(sim.reference, callback=lambda e: started.set(), **LONG)
    stopped = time.monotonic()
    presser.join()
    assert time.monotonic() - stopped < 1


def test_a_callback_stops_and_its_errors_come_out(sim):
    seen = []
    with pytest.raises(KeyboardInterrupt):
        sg.train(sim.reference, callback=lambda e: seen.append(e) or e["epoch"] >= 2, **LONG)
    assert seen[0]["epochs"] == 100_000 and {"train", "validation"} <= set(seen[0])

    def wrong(_):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        sg.train(sim.reference, callback=wrong, **LONG)


def test_a_stopped_fit_goes_on_to_the_same_bits(sim, tmp_path, caplog):
    settings = dict(model="scvi", batch_key="batch", max_epochs=6, hidden=[32], progress=False)
    whole = sg.train(sim.reference, **settings)
    kept = tmp_path / "fit.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        sg.train(sim.reference, callback=lambda e: e["epoch"] >= 2, checkpoint=kept, checkpoint_every=0, **settings)
    other = settings | {"max_epochs": 1}
    with pytest.raises(sg.ScgraftError, match="other settings: epochs was 6, is 1"):
        sg.train(sim.reference, checkpoint=kept, resume=True, **other)
    with caplog.at_level("WARNING", logger="scgraft"):
        sg.train(sim.reference, checkpoint=kept, checkpoint_every=1000, **other)
    assert "an earlier run, of other settings: epochs was 6, is 1" in caplog.text
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(sg.ScgraftError, match="notes.txt: the state of the fit would replace this file"):
        sg.train(sim.reference, checkpoint=tmp_path / "notes.txt", **other)
    resumed = sg.train(sim.reference, checkpoint=kept, checkpoint_every=0, resume=True, **settings)
    assert resumed.reference_hash == whole.reference_hash
    assert not kept.exists()
    with pytest.raises(FileNotFoundError):
        sg.train(sim.reference, checkpoint=kept, resume=True, **settings)


def test_threads_make_no_difference_and_others_go_on(sim):
    settings = dict(model="scvi", batch_key="batch", max_epochs=2, hidden=[32], progress=False)
    ticks = []
    done = threading.Event()

    def tick():
        while not done.wait(0.001):
            ticks.append(1)

    other = threading.Thread(target=tick)
    other.start()
    one = sg.train(sim.reference, threads=1, **settings)
    done.set()
    other.join()
    # The interpreter was free while the library worked.
    assert len(ticks) > 10
    assert sg.train(sim.reference, threads=2, **settings).reference_hash == one.reference_hash


def _forked(queue, model, adata):
    queue.put(model.get_latent_representation(adata))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_forked_workers_are_safe(scvi, sim):
    expected = scvi.get_latent_representation(sim.reference)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    worker = context.Process(target=_forked, args=(queue, scvi, sim.reference))
    worker.start()
    found = queue.get(timeout=60)
    worker.join(30)
    assert np.array_equal(found, expected)


def test_a_bar_is_shown_when_it_is_asked_for(sim, capsys):
    sg.train(sim.reference, model="scvi", batch_key="batch", max_epochs=2, hidden=[32], progress=True)
    assert "training" in capsys.readouterr().err
    sg.train(sim.reference, model="scvi", batch_key="batch", max_epochs=2, hidden=[32])
    assert capsys.readouterr().err == ""
