import math

import pytest
import torch

from latent_memory import objectives


def test_distillation_is_zero_where_student_and_teacher_agree_and_positive_elsewhere() -> None:
    torch.manual_seed(0)
    teacher = torch.randn(5, 20)
    top = teacher.log_softmax(-1).topk(6)
    assert objectives.distillation(teacher, top.indices, top.values).item() == pytest.approx(0, abs=1e-6)
    assert objectives.distillation(torch.randn(5, 20), top.indices, top.values) > 0.1


def test_distillation_over_the_whole_vocabulary_is_the_forward_kl() -> None:
    torch.manual_seed(0)
    teacher, student = torch.randn(4, 9), torch.randn(4, 9)
    top = teacher.log_softmax(-1).topk(9)
    expected = torch.nn.functional.kl_div(
        student.log_softmax(-1), teacher.log_softmax(-1), log_target=True, reduction="batchmean"
    )
    assert objectives.distillation(student, top.indices, top.values).item() == pytest.approx(expected.item(), abs=1e-4)


def test_a_truncated_teacher_bounds_the_kl_from_below() -> None:
    torch.manual_seed(0)
    teacher, student = torch.randn(4, 50), torch.randn(4, 50)
    values = []
    for k in (2, 10, 50):
        top = teacher.log_softmax(-1).topk(k)
        values.append(objectives.distillation(student, top.indices, top.values).item())
    assert values == sorted(values)


def test_contrastive_of_one_positive_is_the_cross_entropy_of_the_scores() -> None:
    torch.manual_seed(0)
    queries = torch.nn.functional.normalize(torch.randn(3, 8), dim=-1)
    evidence = torch.nn.functional.normalize(torch.randn(3, 8), dim=-1)
    none = torch.zeros(3, 3, dtype=torch.bool)
    loss = objectives.contrastive(queries, evidence, torch.eye(3, dtype=torch.bool), none, temperature=0.07)
    expected = torch.nn.functional.cross_entropy(queries @ evidence.T / 0.07, torch.arange(3))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_contrastive_counts_every_positive_and_no_false_negative() -> None:
    query = torch.tensor([[1.0, 0.0]])
    evidence = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    positive = torch.tensor([[True, False, False]])
    nothing = torch.zeros(1, 3, dtype=torch.bool)
    twin = torch.tensor([[False, True, False]])

    def loss(positive: torch.Tensor, ignored: torch.Tensor) -> float:
        return objectives.contrastive(query, evidence, positive, ignored, temperature=1.0).item()

    assert loss(positive, nothing) == pytest.approx(math.log((2 * math.e + 1) / math.e))
    assert loss(positive, twin) == pytest.approx(math.log((math.e + 1) / math.e))
    assert loss(positive | twin, nothing) == pytest.approx(math.log((2 * math.e + 1) / (2 * math.e)))
    assert loss(positive | twin, twin) == pytest.approx(loss(positive | twin, nothing))


def test_what_a_reader_hardly_ever_says_has_a_gradient_that_training_survives() -> None:
    for probability in (0.0, 1e-29, 1e-8, 1e-3):
        said = torch.tensor([probability], requires_grad=True)
        loss = objectives.spoken(torch.tensor([-200.0]), said)
        loss.backward()
        assert loss.isfinite()
        assert said.grad is not None
        assert said.grad.abs() <= 1e7
