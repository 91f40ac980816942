"""Who may use the farm's bucket: a user of the store that can do what a farm needs and no more.

`ttsfarm prepare-store` calls this with the keys of the store's owner; a running farm never does.
"""

import json
from typing import Any

from minio import MinioAdmin
from minio.credentials.providers import StaticProvider

from shared.settings import Settings
from shared.storage_s3 import LIBRARY_ERRORS, client_of, pool, split_endpoint, translate

POLICY = "ttsfarm"
# The owner makes the bucket and its lifecycle rule; the farm only reads them.
ACTIONS = (
    "s3:AbortMultipartUpload",
    "s3:DeleteObject",
    "s3:GetBucketLocation",
    "s3:GetLifecycleConfiguration",
    "s3:GetObject",
    "s3:ListBucket",
    "s3:ListBucketMultipartUploads",
    "s3:ListMultipartUploadParts",
    "s3:PutObject",
)


def policy(bucket: str, principal: str | None = None) -> dict[str, Any]:
    """An S3 policy of what a farm needs; a bucket's own policy names its `principal` too."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                **({"Principal": {"AWS": [principal]}} if principal else {}),
                "Action": list(ACTIONS),
                # One statement: stores differ in which of the two a deletion of many belongs to.
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
            }
        ],
    }


def make_minio_user(owner: Settings, access_key: str, secret_key: str) -> None:
    """Make, or set right, a user of a MinIO server; harmless to repeat.

    Raises what `translate` makes of the library's errors.
    """
    host, secure = split_endpoint(owner, owner.s3_endpoint)
    keys = StaticProvider(
        owner.s3_access_key.get_secret_value(), owner.s3_secret_key.get_secret_value()
    )
    admin = MinioAdmin(endpoint=host, credentials=keys, secure=secure, http_client=pool())
    try:
        admin.policy_add(POLICY, policy=policy(owner.s3_bucket))
        admin.user_add(access_key, secret_key)
        admin.policy_set(POLICY, user=access_key)
    except LIBRARY_ERRORS as error:
        raise translate(error) from error


def admit(owner: Settings, principal: str) -> None:
    """Let a user the store already has, named by its ARN, use the bucket and no more of it."""
    document = json.dumps(policy(owner.s3_bucket, principal))
    try:
        client_of(owner, owner.s3_endpoint).set_bucket_policy(owner.s3_bucket, document)
    except LIBRARY_ERRORS as error:
        raise translate(error) from error
