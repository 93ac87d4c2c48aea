"""Figures of a sweep."""

import numpy as np
import pytest

from seqtrain.evaluation.sweep_plots import Scale, by_setting, history, parallel_coordinates, unit


def test_numbers_stand_by_their_size_and_words_at_even_distances():
    assert Scale(["64", "128", "256"])(["64", "256", "128"]).tolist() == [64, 256, 128]
    assert np.diff(Scale(["1e-4", "1e-3", "1e-2"])(["1e-4", "1e-3", "1e-2"])) == pytest.approx([np.log(10)] * 2)
    assert Scale(["lstm", "gru", "lstm"])(["gru", "lstm"]).tolist() == [1, 0]
    assert Scale(["0", "0.5", "null"]).ticks() == ([0, 1, 2], ["0", "0.5", "null"])


def test_of_many_values_some_are_named():
    places, names = Scale([str(number) for number in range(100)]).ticks()
    assert len(names) <= 12
    assert names[:2] == ["0", "9"]
    assert places[:2] == [0, 9]


def test_places_of_one_value_are_in_the_middle():
    assert unit(np.array([3.0, 3.0])).tolist() == [0.5, 0.5]
    assert unit(np.array([1.0, 3.0, 2.0])).tolist() == [0, 1, 0.5]


def test_each_run_is_a_line_and_the_best_is_the_thickest():
    settings = {"seed": ["1", "2", "3"], "backbone": ["gru", "lstm", "gru"]}
    (axes,) = parallel_coordinates(settings, [0.1, 0.2, 0.4], "valid loss").axes
    lines = axes.get_lines()
    assert [line.get_ydata()[-1] for line in lines] == pytest.approx([1, 1 / 3, 0])
    assert [line.get_linewidth() for line in lines] == [1, 1, 3]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["seed", "backbone", "valid loss"]


def test_each_setting_has_a_panel_with_the_means_of_its_values():
    settings = {"seed": ["1", "2", "3"], "backbone": ["gru", "lstm", "gru"]}
    panels = by_setting(settings, [0.1, 0.2, 0.4], "valid loss").axes
    assert [panel.get_xlabel() for panel in panels] == ["seed", "backbone"]
    assert panels[1].get_lines()[1].get_ydata().tolist() == pytest.approx([0.25, 0.2])
    assert len(by_setting({"seed": ["1", "2"]}, [1, 2], "valid loss").axes) == 1


def test_jobs_of_a_search_are_whole_numbers():
    (axes,) = history([(1, 0.5, False), (2, 0.4, True), (3, 0.3, False)], "min", "valid loss").axes
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1, 2, 3]
