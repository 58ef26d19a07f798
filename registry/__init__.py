"""A model registry: what is uploaded to a bucket is a row in BigQuery."""
