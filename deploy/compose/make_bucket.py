"""Makes the bucket that the settings name where the store does not have it; AWS's own are made by hand."""

import boto3

from netwarden.settings import load_settings

settings = load_settings()
secret = settings.aws_secret_access_key
client = boto3.client(
    "s3",
    endpoint_url=settings.s3_endpoint,
    region_name=settings.aws_region,
    aws_access_key_id=settings.aws_access_key_id,
    aws_secret_access_key=secret.get_secret_value() if secret else None,
)
if settings.s3_bucket not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
    client.create_bucket(Bucket=settings.s3_bucket)
print(f"bucket {settings.s3_bucket}: there")
