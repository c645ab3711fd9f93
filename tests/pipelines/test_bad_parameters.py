"""What a user can get wrong on the command line and in conf/: one sentence, exit code 1, nothing written."""

import pytest
from project_copy import REPOSITORY, sentence

pytestmark = pytest.mark.slow

TRAIN, CATALOG = "smoke/parameters_train.yml", "base/catalog.yml"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"rollout.groupsize": 3}, "unknown parameter rollout.groupsize (found 3): did you mean rollout.group_size?"),
        ({"rolout.group_size": 3}, "did you mean rollout?"),
        ({"aggregate.schedule.peek": 2}, "did you mean aggregate.schedule.peak?"),
        ({"environment.pool.worker": 2}, "did you mean environment.pool.workers?"),
        ({"coevolve.steps": -1}, "parameter coevolve.steps: input should be greater than or equal to 1 (found -1)"),
        ({"coevolve.steps": "many"}, "parameter coevolve.steps: input should be a valid integer"),
        ({"run.name": "../x"}, "parameter run.name: a run's name may have letters"),
        ({"rollout.group_size": 1}, "rollout.group_size is 1, but advantages compare"),
        (
            {"aggregate.credit.kind": "trajectory", "aggregate.credit.reward": "potential"},
            "reward is a field of kind turn, but kind is 'trajectory'",
        ),
        (
            {
                "aggregate.credit.kind": "turn",
                "aggregate.credit.reward": "worth",
                "aggregate.credit.verdicts": "oracle",
            },
            "parameter aggregate.credit: reward: worth is of the policy's own labels",
        ),
        ({"aggregate.credit.kind": "gigp"}, "unknown credit rule 'gigp': did you mean 'gigpo'?"),
        (
            {"aggregate.schedule.kind": "earned", "rollout.guidance": False},
            "'earned', which reads verdicts, but rollout.",
        ),
        (
            {"aggregate.truth.kind": "brier", "rollout.guidance": False},
            "there are none: set it to off or turn guidance on",
        ),
        (
            {"run.method": "grpo", "run.seed": 0, "evaluate.plain": False},
            "evaluate.plain is false, but rollout.guidance=false trains a policy without guidance",
        ),
        (
            {"evaluate.guided": False},
            "evaluate.guided is false, but rollout.guidance=true trains a policy with",
        ),
        ({"rollout.temperature": 0}, "rollout.temperature is 0, but a group without chance"),
        ({"rollout.tasks_per_step": 9}, "rollout.tasks_per_step is 9, but tasks.limit leaves only 4 games"),
        ({"train.minibatch": 999}, "train.minibatch is 999, but a step has only 8 trajectories"),
        ({"train.learning_rate": "inf"}, "parameter train.learning_rate: must be a finite number (found inf)"),
        ({"train.learning_rate": "nan"}, "parameter train.learning_rate: "),
        ({"train.loss_type": "ppo"}, "parameter train.loss_type: input should be 'grpo', 'dapo'"),
        ({"aggregate.schedule.full": 0.9}, "activation <= full <= annealing, found 0.0, 0.9, 0.875"),
        (
            {"aggregate.schedule.kind": "x"},
            "aggregate.schedule.kind: unknown trust schedule 'x': did you mean 'trapezoid'?",
        ),
        ({"environment.name": "alfwold"}, "unknown environment 'alfwold': did you mean 'alfworld'?"),
        ({"base_model.device": "gpu"}, "parameter base_model.device: must be 'cpu' or 'cuda' (found 'gpu')"),
        ({"aggregate.schedule.kind": "null"}, "parameter aggregate.schedule.kind: unknown trust schedule 'None'"),
        ({"aggregate.schedule": 3}, "parameter aggregate.schedule: input should be a valid dictionary"),
        ({"coevolve.steps": 0, "train.beta": -1}, "; parameter train.beta: "),
    ],
)
def test_parameters(project, parameters, message):
    before = set(project.root.rglob("*"))
    assert message in project.refuse("coevolve", "wrong", parameters)
    assert set(project.root.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pipeline=coevole"], "pipeline 'coevole' does not exist; did you mean coevolve? Available: aggregate,"),
        (["--env=smok"], "conf/smok does not exist; did you mean smoke? Available: base, "),
        (["--params=run=3"], "parameter run: input should be a valid dictionary"),
        (["--params=run.name"], "`run.name` must contain a key and a value separated by `=`"),
        (["--params=coevolve.steps=[1"], "a value of --params cannot be read (ParserError: "),
        (["--load-versions=x"], "Expected the form of 'load_versions' to be"),
        (["--config=pyproject.toml"], "the file of --config, which needs `run:`, cannot be read ("),
        (["--nodes=rolout"], "Pipeline does not contain nodes named ['rolout']"),
        (["--runner=ThreadRunner"], "--runner is 'ThreadRunner', but the nodes of a run share one live policy"),
        (["--pipelin=tasks"], "--pipelin"),
        (["--conf-source=nowhere"], "nowhere"),
    ],
)
def test_options(project, options, message):
    assert message in sentence(project.kedro("run", "--env=smoke", *options))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (TRAIN, b"train:\n  minibatch: [8\n", "parameters_train.yml, line 3, is not valid YAML: "),
        (TRAIN, b"train:\n\tbeta: 8\n", "parameters_train.yml, line 2, is not valid YAML: found character '\\t'"),
        (TRAIN, b"train: {}\ntrain: {}\n", "line 2, is not valid YAML: found duplicate key train"),
        (TRAIN, b"- 3\n", "parameters_train.yml must contain a mapping of names to values, but it contains a list"),
        (TRAIN, b"\xff\xfe\x00", "parameters_train.yml is not UTF-8 text"),
        (TRAIN, b"train:\n  beta: ${globals:no}\n", "value train.beta cannot be resolved: Globals key"),
        (TRAIN, b"train:\n  beta: ${no.at.all}\n", "value train.beta cannot be resolved: Interpolation"),
        (TRAIN, b"train:\n  bta: 0.5\n", "unknown parameter train.bta (found 0.5): did you mean train.beta?"),
        (CATALOG, b"more: [\n", "catalog.yml, line 2, is not valid YAML"),
        (CATALOG, b"- 1\n", "catalog.yml must contain a mapping of names to values, but it contains a list"),
        (CATALOG, b"", "the catalog has no run_identity"),
        (CATALOG, None, "Dataset 'panel' must only contain arguments valid for"),
    ],
)
def test_configuration_files(project, file, content, message):
    if content is None:
        whole = (project.root / "conf" / file).read_bytes()
        content = whole.replace(b"filepath: ${_intermediate}/panel.json", b"filepath: 3")
    with project.replaced(f"conf/{file}", content):
        assert message in project.refuse("tasks", "wrong")


@pytest.mark.parametrize("env", sorted(path.parent.name for path in (REPOSITORY / "conf").glob("*/globals.yml")))
def test_our_own_configuration_is_sound(env, monkeypatch):
    from sg_pipeline.config.loader import MethodConfigLoader
    from sg_pipeline.config.tree import check_parameters
    from sg_pipeline.settings import CONFIG_LOADER_ARGS

    monkeypatch.setenv("ALFWORLD_DATA", "/official")
    loader = MethodConfigLoader(str(REPOSITORY / "conf"), env=env, **CONFIG_LOADER_ARGS)
    parameters = check_parameters(loader["parameters"])
    assert parameters.tasks.data == "/official"
    assert (parameters.run.name == "default") == (env == "base")
