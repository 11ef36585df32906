"""Every exception Netwarden raises on purpose.

NetwardenError
├── ConfigError            a setting, parameter or environment variable is missing or wrong
├── SchemaError            columns, types or units do not fit the schema in use
│   └── LabelError         a label that no schema and no family knows
├── InputError             a file, upload or request body cannot be read as flows
│   └── QuarantineError    too many of its rows are bad to go on
├── DataCheckError         the dataset fails a check that stops the pipeline
├── TrainingError          the rows cannot train a detector (one class, too few rows)
├── BundleError            a detector bundle is damaged, of another format or of another contract
├── StoreError             the flow, alert or registry store refuses, is full or cannot be reached
│   ├── NotFoundError      the store is there, the thing asked for is not
│   ├── HeldError          somebody else holds the lease
│   └── QueueFullError     the queue has no room, or not soon enough
├── NotifyError            somebody who is to be told of alerts does not take messages
├── BackupError            S3 or the local backup folder refuses, or a checksum differs
├── TrackingError          MLflow or DagsHub refuses or cannot be reached
├── LabError               the traffic lab cannot be built, a program of it fails, or a flow has no known origin
└── JobError               a long run cannot be started or has failed
    └── JobBusyError       another run of the same kind is under way

A message says what is wrong, where, and the likely cause, in one sentence or two.
"""

from __future__ import annotations


class NetwardenError(Exception):
    """Base of all errors that Netwarden raises on purpose; its text is fit to show to a person."""


class ConfigError(NetwardenError):
    """A setting, parameter or environment variable is missing or wrong."""


class SchemaError(NetwardenError):
    """Columns, types or units do not fit the schema in use."""


class LabelError(SchemaError):
    """A label that no schema and no family knows."""


class InputError(NetwardenError):
    """A file, upload or request body cannot be read as flows."""


class QuarantineError(InputError):
    """Too many rows of an input are bad to go on."""


class DataCheckError(NetwardenError):
    """The dataset fails a check that stops the pipeline."""


class TrainingError(NetwardenError):
    """The rows cannot train a detector."""


class BundleError(NetwardenError):
    """A detector bundle is damaged, of another format or of another contract."""


class StoreError(NetwardenError):
    """The flow, alert or registry store refuses, is full or cannot be reached."""


class NotFoundError(StoreError):
    """The store is there, the thing asked for is not."""


class HeldError(StoreError):
    """Somebody else holds the lease."""


class QueueFullError(StoreError):
    """The queue has no room, or not soon enough."""


class NotifyError(NetwardenError):
    """Somebody who is to be told of alerts does not take messages."""


class BackupError(NetwardenError):
    """S3 or the local backup folder refuses, or a checksum differs."""


class TrackingError(NetwardenError):
    """MLflow or DagsHub refuses or cannot be reached."""


class JobError(NetwardenError):
    """A long run cannot be started or has failed."""


class JobBusyError(JobError):
    """Another run of the same kind is under way."""


class LabError(NetwardenError):
    """The traffic lab cannot be built, a program of it fails, or a flow has no known origin."""
