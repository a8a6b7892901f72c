from pipeline.devices import report_kernels

CUDNN = "cuDNN: a GPU is visible, and sequences are padded on the right, without recurrent dropout"


def test_kernels_are_grouped_by_reason():
    kernels = {
        "encoder/0": None,
        "decoder/0": "no GPU",
        "encoder/1": None,
        "decoder/1": "dropout",
        "decoder/2": "no GPU",
    }
    assert list(report_kernels(kernels, replicas=1)) == [
        f"encoder/0, encoder/1: {CUDNN}",
        "decoder/0, decoder/2: one product for all inputs, then a loop; not cuDNN: no GPU",
        "decoder/1: one product for all inputs, then a loop; not cuDNN: dropout",
    ]
    assert list(report_kernels({}, replicas=4)) == ["4 replicas share each batch"]
