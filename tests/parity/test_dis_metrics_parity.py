"""DIS metrics against the evaluation scripts behind the published tables."""

import numpy as np
import pytest
from is5net_golden import stored

from napari_iseg.evaluation.dis_metrics import dis_scores
from napari_iseg.evaluation.hce import human_correction_efforts

GOLDEN = stored("reduced", "dis_metrics")
COLUMNS = ("max_f", "weighted_f", "mae", "s_measure", "mean_e", "max_e", "_", "_", "iou", "boundary_iou")


@pytest.mark.parametrize("pair", range(5))
def test_every_score_of_a_picture(pair):
    scores = dis_scores(GOLDEN["pred"][pair], GOLDEN["gt"][pair])
    np.testing.assert_allclose(scores.f_curve[::-1], GOLDEN["paper_f_curves"][pair], atol=1e-6)
    np.testing.assert_allclose(scores.e_curve[::-1], GOLDEN["paper_e_curves"][pair], atol=1e-6)
    ours = {"max_f": scores.f_curve.max(), "mean_e": scores.e_curve.mean(), "max_e": scores.e_curve.max()}
    published = GOLDEN["paper_maxf_wf_mae_s_meane_maxe_adpf_adpe_iou_biou"][pair]
    for name, value in zip(COLUMNS, published, strict=True):
        if name != "_":
            found = ours[name] if name in ours else getattr(scores, name)
            assert found == pytest.approx(value, abs=1e-6), name
    assert scores.hce == GOLDEN["hce_total"][pair]


@pytest.mark.parametrize("pair", range(5))
def test_every_part_of_the_human_correction_efforts(pair):
    efforts = human_correction_efforts(GOLDEN["pred"][pair] > 128, GOLDEN["gt"][pair] > 128)
    parts = efforts.fp_points, efforts.fp_regions, efforts.fn_points, efforts.fn_regions
    np.testing.assert_array_equal(parts, GOLDEN["hce_fppoints_fpregions_fnpoints_fnregions"][pair])


def test_data_set_values_average_the_curves_before_the_maximum():
    pairs = zip(GOLDEN["pred"], GOLDEN["gt"], strict=True)
    scores = [dis_scores(pred, truth, with_hce=False) for pred, truth in pairs]
    max_f = np.mean([s.f_curve for s in scores], axis=0).max()
    mean_e = np.mean([s.e_curve for s in scores])
    np.testing.assert_allclose((max_f, mean_e), GOLDEN["paper_dataset_maxf_meane"], atol=1e-6)
