"""Two-layer homogeneous networks: traces, rescalings, the flattest point, teachers and memorisers."""

import numpy as np
import pytest
import torch
from torch.func import functional_call

from landscape import papers, problems
from landscape.errors import LandscapeError
from landscape.papers.students import Student
from landscape.problems.multi_index import MultiIndexOptions, draw_multi_index

DEGREES = [1, 2, 3]
LEAST = {1: 2.537716, 2: 1.966720, 3: 1.653768}


def random_student(degree: int, units: int = 6, inputs: int = 5, seed: int = 0) -> Student:
    random = np.random.default_rng(seed)
    return Student(random.normal(size=units), random.normal(size=(units, inputs)), degree)


def examples(count: int = 40, inputs: int = 5) -> np.ndarray:
    return np.random.default_rng(7).normal(size=(count, inputs))


@pytest.mark.parametrize("degree", DEGREES)
def test_the_least_trace_is_that_of_a_scan(degree):
    a, b = 2.3, 0.7
    closed = float(papers.least_trace(a, b, degree))
    assert closed == pytest.approx(LEAST[degree], abs=5e-7)
    c = np.exp(np.linspace(-2, 2, 400_001))
    scan = c ** (2 * degree) * a + b / c**2
    assert closed == pytest.approx(scan.min(), rel=1e-9)
    assert float(papers.flattest_factors(a, b, degree)) == pytest.approx(c[scan.argmin()], rel=1e-4)


def exact_trace(student: Student, x: np.ndarray, y: np.ndarray) -> float:
    """The trace of the Hessian of the mean squared error by automatic differentiation."""
    options = {"dim": x.shape[1], "width": len(student.a), "degree": student.degree, "bias": False}
    model = problems.build("multi-index", {**options, "train_size": 4}).model.double()
    names = {name: tensor.shape for name, tensor in student.weights().items()}
    flat = torch.cat([tensor.flatten() for tensor in student.weights(torch.float64).values()])
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y)[:, None]

    def loss(vector: torch.Tensor) -> torch.Tensor:
        parts = vector.split([shape.numel() for shape in names.values()])
        state = {name: part.view(shape) for (name, shape), part in zip(names.items(), parts, strict=True)}
        return (functional_call(model, state, (inputs,)) - targets).square().mean()

    return float(torch.autograd.functional.hessian(loss, flat).trace())


@pytest.mark.parametrize("degree", DEGREES)
def test_the_trace_of_an_interpolator_is_the_exact_one(degree):
    student, x = random_student(degree), examples()
    y = student.outputs(x)
    assert papers.interpolation_trace(student, x) == pytest.approx(exact_trace(student, x, y), rel=1e-10)
    flat = papers.flattest(student, x)
    assert papers.flattest_trace(student, x) == pytest.approx(exact_trace(flat, x, y), rel=1e-10)
    # Control: off the interpolator the residuals add to the trace, unless units are piecewise linear.
    shifted = exact_trace(student, x, y + 3.0)
    assert (shifted == pytest.approx(exact_trace(student, x, y), rel=1e-10)) == (degree == 1)


@pytest.mark.parametrize("degree", DEGREES)
def test_the_flattest_point_is_the_same_all_over_the_orbit(degree):
    student, x = random_student(degree), examples()
    factors = np.exp(np.random.default_rng(3).normal(size=6))
    other = student.rescaled(factors)
    np.testing.assert_allclose(other.outputs(x), student.outputs(x), rtol=1e-12)
    least = papers.flattest_trace(student, x)
    assert papers.flattest_trace(other, x) == pytest.approx(least, rel=1e-13)
    # Control: the trace itself is not.
    assert papers.interpolation_trace(other, x) > 1.1 * papers.interpolation_trace(student, x)
    flat = papers.flattest(other, x)
    np.testing.assert_allclose(flat.outputs(x), student.outputs(x), rtol=1e-12)
    assert papers.interpolation_trace(flat, x) == pytest.approx(least, rel=1e-13)
    again = papers.flattest(flat, x)
    np.testing.assert_allclose(again.w, flat.w, rtol=1e-13)
    outer, inner = papers.neuron_traces(flat, x)
    np.testing.assert_allclose(inner, degree * outer, rtol=1e-12)


def test_a_dead_unit_stays_as_it_is():
    x = np.abs(examples())
    student = Student(np.array([1.0, 2.0, 0.0]), np.array([[1.0] * 5, [-1.0] * 5, [1.0] * 5]), 1)
    flat = papers.flattest(student, x)
    np.testing.assert_array_equal(flat.w[1:], student.w[1:])
    with pytest.raises(LandscapeError, match=r"^rescaled: factors must be positive; got -1.0$"):
        student.rescaled([1.0, -1.0, 2.0])


LINKS = {"relu": 1, "abs": 1, "linear": 1, "square": 2, "cube": 3}


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("bias", [True, False])
def test_the_teacher_is_the_target(link, bias):
    options = MultiIndexOptions(dim=8, indices=2, link=link, bias=bias, train_size=30)
    x, y = draw_multi_index(options).train
    teacher = papers.teacher(options)
    assert teacher.degree == LINKS[link]
    np.testing.assert_allclose(teacher.outputs(x), y, atol=1e-12)
    noisy = MultiIndexOptions(dim=8, indices=2, link=link, bias=bias, train_size=30, noise=0.5)
    assert np.abs(teacher.outputs(draw_multi_index(noisy).train[0]) - draw_multi_index(noisy).train[1]).max() > 0.1
    np.testing.assert_allclose(teacher.outputs(draw_multi_index(noisy).test[0]), draw_multi_index(noisy).test[1])


def test_links_that_no_few_units_make_up_have_no_teacher():
    expected = "relu or abs or linear or square or cube"
    with pytest.raises(
        LandscapeError, match=f"^teacher: no network of few units; got link=tanh; expected {expected}$"
    ):
        papers.teacher(MultiIndexOptions(link="tanh"))


def test_memorisers_grow_and_the_teacher_does_not():
    # Medians over draws. A memoriser's slopes and their changes grow with the density of the examples on its line.
    counts = [25, 50, 100, 200]
    memorised, taught = [], []
    for count in counts:
        rows = []
        for seed in range(11):
            options = MultiIndexOptions(train_size=count, data_seed=seed, test_size=200)
            drawn = draw_multi_index(options)
            x, y = drawn.train
            teacher = papers.teacher(options)
            direction = papers.random_direction(20, drawn.directions, seed)
            assert abs(float(direction @ drawn.directions[0])) < 1e-12
            student = papers.memoriser(x, y, direction)
            assert len(student.a) == count
            rows.append([papers.flattest_trace(one, x) for one in (student, teacher)])
        memorised.append(np.median([row[0] for row in rows]))
        taught.append(np.median([row[1] for row in rows]))
    exponent = np.polyfit(np.log(counts), np.log(memorised), 1)[0]
    assert 1.8 < exponent < 2.8
    assert 1e3 < memorised[0] < 2e4
    assert all(7 < value < 11 for value in taught)


@pytest.mark.parametrize("degree", DEGREES)
def test_memorisers_fit_all_examples_and_learn_nothing(degree):
    options = MultiIndexOptions(dim=6, train_size=20, test_size=400)
    drawn = draw_multi_index(options)
    direction = papers.random_direction(6, drawn.directions, 1)
    students = {
        "bumps": papers.bump_memoriser(*drawn.train, direction, degree),
        "line": papers.memoriser(*drawn.train, direction),
        "teacher": papers.teacher(options),
    }
    assert len(students["bumps"].a) == 20 * (degree + 2)
    found = papers.compare(students, drawn.train, drawn.test)
    assert found.names == ("bumps", "line", "teacher")
    assert (found.train_loss < 1e-12).all()
    spread = float(np.var(drawn.test[1]))
    assert (found.population_loss[:2] > 0.5 * spread).all()
    assert found.population_loss[2] < 1e-20
    assert (found.least_trace[:2] > 10 * found.least_trace[2]).all()
    assert (found.least_trace <= found.trace * (1 + 1e-12)).all()


def test_what_a_memoriser_cannot_take():
    x, y = examples(), np.zeros(40)
    with pytest.raises(LandscapeError, match="the last entry of every input must be 1"):
        papers.memoriser(x, y, np.ones(4))
    twice = np.column_stack([np.ones((3, 2)), np.ones(3)])
    with pytest.raises(LandscapeError, match="two examples lie at the same place"):
        papers.memoriser(twice, np.zeros(3), np.array([1.0, 0.0]))
    with pytest.raises(LandscapeError, match="more directions than dimensions"):
        draw_multi_index(MultiIndexOptions(dim=2, indices=3))


@pytest.mark.parametrize("degree", DEGREES)
def test_students_and_models_are_the_same_network(degree):
    objective = problems.build("multi-index", {"degree": degree, "width": 7, "train_size": 30, "dim": 4}, seed=2)
    student = papers.student_of(objective.model, degree)
    x, y = draw_multi_index(MultiIndexOptions(dim=4, train_size=30)).train
    wanted = float(((student.outputs(x) - y) ** 2).mean())
    assert objective.value(objective.model) == pytest.approx(wanted, rel=1e-5)
    moved = papers.flattest(student, x)
    assert objective.value(moved.weights()) == pytest.approx(wanted, rel=1e-4)
    with pytest.raises(LandscapeError, match="not a student of multi-index"):
        papers.student_of(torch.nn.Linear(2, 1), 1)
