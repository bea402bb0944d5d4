"""The model file: the 31 source attributes of a predictive decision support intervention.

Keys are the paragraphs of 45 CFR 170.315(b)(11)(iv)(B) (HTI-1). What the developer did not
provide stays absent and is shown as "not provided", never guessed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chartgate.errors import Invalid
from chartgate.formats.strict_yaml import load_yaml
from chartgate.model.charter import Charter
from chartgate.policy.charter_shape import near

NOT_PROVIDED = "not provided"
TEXT_LENGTH_MAX = 10_000
KEYS = ("model", "version", "attributes")

SOURCE_ATTRIBUTES: Mapping[str, str] = {
    "(B)(1)(i)": "Developer's name and contact information",
    "(B)(1)(ii)": "Funding source of the technical implementation",
    "(B)(1)(iii)": "Value that is produced as an output",
    "(B)(1)(iv)": "Kind of output: prediction, classification, recommendation, evaluation, "
    "analysis or other",
    "(B)(2)(i)": "Intended use",
    "(B)(2)(ii)": "Intended patient population",
    "(B)(2)(iii)": "Intended users",
    "(B)(2)(iv)": "Intended role in decision-making",
    "(B)(3)(i)": "Tasks, situations or populations for which users are cautioned",
    "(B)(3)(ii)": "Known risks, inappropriate settings and uses, known limitations",
    "(B)(4)(i)": "Criteria of exclusion from and inclusion in the training data",
    "(B)(4)(ii)": "Demographic, social and health status variables used as inputs",
    "(B)(4)(iii)": "Demographic representativeness of the training data",
    "(B)(4)(iv)": "Relevance of the training data to the setting of use",
    "(B)(5)(i)": "Approach to make the output fair",
    "(B)(5)(ii)": "Approaches to manage, reduce or eliminate bias",
    "(B)(6)(i)": "External validation: data source, clinical setting or environment",
    "(B)(6)(ii)": "External validation: party that tested",
    "(B)(6)(iii)": "External validation: demographic representativeness of the data",
    "(B)(6)(iv)": "External validation: process",
    "(B)(7)(i)": "Validity in test data of the same source as the training data",
    "(B)(7)(ii)": "Fairness in test data of the same source as the training data",
    "(B)(7)(iii)": "Validity in data of another source",
    "(B)(7)(iv)": "Fairness in data of another source",
    "(B)(7)(v)": "References to evaluations of its use on outcomes",
    "(B)(8)(i)": "How, and how often, validity is monitored",
    "(B)(8)(ii)": "Validity in local data",
    "(B)(8)(iii)": "How, and how often, fairness is monitored",
    "(B)(8)(iv)": "Fairness in local data",
    "(B)(9)(i)": "How, and how often, it is updated",
    "(B)(9)(ii)": "How often performance is corrected when risks are found",
}


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """What a model file says."""

    name: str
    version: str
    attributes: Mapping[str, str]  # by paragraph; missing ones are absent


def parse_model(body: bytes) -> ModelFile:
    """Raises Invalid with every mistake, a line each."""
    value = load_yaml(body)
    if not isinstance(value, dict):
        raise Invalid("a model file is a mapping with the keys model, version, attributes")
    findings = [f"there is no key {k}{near(k, KEYS)}" for k in value if k not in KEYS]
    findings += [
        f"{key} must be a text, e.g. {example}"
        for key, example in (("model", "slot-picker"), ("version", '"1.4.0"'))
        if not isinstance(value.get(key), str) or not value[key].strip()
    ]
    attributes = value.get("attributes") or {}
    if not isinstance(attributes, dict):
        raise Invalid("attributes must be a mapping from paragraph to text")
    findings += [f for k, v in attributes.items() for f in _attribute_findings(k, v)]
    if findings:
        raise Invalid("\n".join(findings))
    texts = {k: attributes[k].strip() for k in SOURCE_ATTRIBUTES if attributes.get(k)}
    return ModelFile(
        name=value["model"],
        version=value["version"],
        attributes={k: t for k, t in texts.items() if t},
    )


def source_attributes(charter: Charter) -> tuple[tuple[str, str, str], ...]:
    """(paragraph, label, text) of all 31, in the regulation's order."""
    return tuple(
        (paragraph, label, charter.model.get(paragraph, NOT_PROVIDED))
        for paragraph, label in SOURCE_ATTRIBUTES.items()
    )


def _attribute_findings(key: str, value: Any) -> list[str]:
    if key not in SOURCE_ATTRIBUTES:
        return [f"attributes: there is no paragraph {key}{near(key, SOURCE_ATTRIBUTES)}"]
    if value is not None and not isinstance(value, str):
        return [f"attributes.{key} must be a text"]
    if value and len(value) > TEXT_LENGTH_MAX:
        return [f"attributes.{key} is over {TEXT_LENGTH_MAX} characters"]
    return []
