"""Every layer as ONNX: ONNX Runtime makes of it what we make of it, for the networks of `examples/onnx_cases.rs`."""

import json
import os
import pathlib
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
from command import ROOT

#: The names of `crates/models/tests/onnx/cases.rs`; a test says when they differ.
CASES = [
    "table", "categories", "smooth", "bent", "norms", "residuals", "lenet", "windows", "resnet",
    "gru", "lstm", "steps", "letters", "words", "decoder", "encoder", "blocks", "oblong", "bag", "sum",
]  # fmt: skip


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """What the example writes: `THALWEG_EXAMPLES`, else the debug build. Missing is a failure, never a skip."""
    examples = pathlib.Path(os.environ.get("THALWEG_EXAMPLES") or ROOT / "target" / "debug" / "examples")
    program = examples / "onnx_cases"
    assert program.is_file(), f"{program} does not exist: run `cargo build --examples`, or set THALWEG_EXAMPLES"
    out = tmp_path_factory.mktemp("cases")
    subprocess.run([program, out], check=True)
    return out


def tensors(described, ports):
    """Arrays of the types that the ports name."""
    types = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
    kind = {port.name: types[port.type] for port in ports}
    assert kind.keys() == described.keys()
    return {name: np.array(x["values"], kind[name]).reshape(x["shape"]) for name, x in described.items()}


def test_all_cases_are_here(folder):
    assert sorted(path.stem for path in folder.glob("*.onnx")) == sorted(CASES)


@pytest.mark.parametrize("name", CASES)
def test_onnx_runtime_agrees(folder, name):
    document = json.loads((folder / f"{name}.json").read_text())
    file = folder / f"{name}.onnx"
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    # Parameters keep their names; the second bias of a recurrent layer is joined to the first.
    found = {tensor.name for tensor in model.graph.initializer}
    assert {tensor for tensor in document["tensors"] if not tensor.endswith("bias_hh_l0")} <= found

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    fed = tensors(document["inputs"], session.get_inputs())
    expected = tensors(document["outputs"], session.get_outputs())
    made = dict(zip(expected, session.run(list(expected), fed), strict=True))
    for output, values in expected.items():
        assert np.ptp(values) > 1e-2, f"{output} is the same everywhere, which shows nothing"
        np.testing.assert_allclose(made[output], values, rtol=1e-5, atol=1e-5, err_msg=output)
    # Rows do not see each other, and there may be any number of them; of none, ONNX Runtime's own GRU and LSTM abort.
    recurrent = {"GRU", "LSTM"} & {node.op_type for node in model.graph.node}
    for rows in [slice(2, 3)] + [slice(0, 0)] * (not recurrent):
        some = session.run(list(expected), {key: x[rows] for key, x in fed.items()})
        for output, values in zip(expected, some, strict=True):
            assert values.shape == made[output][rows].shape
            np.testing.assert_allclose(values, made[output][rows], rtol=1e-5, atol=1e-6, err_msg=output)
