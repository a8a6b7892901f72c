"""Answers about models, the same for both protocols."""

import json
from collections.abc import Sequence

from google.protobuf import json_format
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataResponse, SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse

from serving.server.library import Version
from serving.server.servable import Servable


def status_response(versions: Sequence[Version]) -> GetModelStatusResponse:
    """How versions stand."""
    response = GetModelStatusResponse()
    for version in versions:
        status = response.model_version_status.add(version=version.number, state=version.state)
        status.status.SetInParent()
        if version.error is not None:
            status.status.error_code = version.error.code.value[0]
            status.status.error_message = version.error.message
    return response


def metadata_response(name: str, servable: Servable) -> GetModelMetadataResponse:
    """A version's signatures."""
    response = GetModelMetadataResponse()
    response.model_spec.name = name
    response.model_spec.version.value = servable.version
    response.metadata["signature_def"].Pack(SignatureDefMap(signature_def=dict(servable.signatures)))
    return response


def metadata_json(name: str, servable: Servable) -> str:
    """The same in JSON, in TF Serving's layout."""
    signatures = SignatureDefMap(signature_def=dict(servable.signatures))
    printed = json_format.MessageToDict(
        signatures, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
    )
    document = {
        "model_spec": {"name": name, "signature_name": "", "version": str(servable.version)},
        "metadata": {"signature_def": printed},
    }
    return json.dumps(document, indent=1, ensure_ascii=False)
