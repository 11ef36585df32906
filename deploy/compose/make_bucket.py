"""Makes the bucket that the settings name where the store does not have it; AWS's own are made by hand."""

from netwarden.settings import load_settings
from netwarden.sources.s3 import s3_client

settings = load_settings()
client = s3_client(settings)
if settings.s3_bucket not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
    client.create_bucket(Bucket=settings.s3_bucket)
print(f"bucket {settings.s3_bucket}: there")
