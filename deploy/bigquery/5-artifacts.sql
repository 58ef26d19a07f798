-- One row for each artifact, as its newest registration describes it. Events come in any order, and generations
-- need not grow, so the newest write is the one with the latest upload time. An old row without an upload time
-- counts by the time of its registration.
--
-- gone_since is when a reconciliation found the artifact missing from its bucket; NULL while it is there. It holds
-- for one generation, or, if a row has none, for one upload: a newer one is there again.

CREATE OR REPLACE VIEW `${project}.${dataset}.artifacts`
OPTIONS (description = "One row for each artifact: its newest registration")
AS
WITH
  newest AS (
    SELECT
      *,
      MIN(IFNULL(upload_timestamp, registered_at)) OVER artifact AS first_upload_timestamp,
      COUNT(*) OVER artifact - 1 AS overwrites
    FROM `${project}.${dataset}.registrations`
    WHERE TRUE
    QUALIFY ROW_NUMBER() OVER (
      artifact
      ORDER BY IFNULL(upload_timestamp, registered_at) DESC, generation DESC, registered_at DESC
    ) = 1
    WINDOW artifact AS (
      PARTITION BY model_name, environment, model_version, gcs_bucket, gcs_path
    )
  ),
  gone AS (
    SELECT
      gcs_bucket,
      gcs_path,
      generation,
      IF(generation IS NULL, upload_timestamp, NULL) AS upload,
      MIN(found_at) AS gone_since
    FROM `${project}.${dataset}.vanished`
    GROUP BY gcs_bucket, gcs_path, generation, upload
  )
SELECT
  newest.*,
  gone.gone_since
FROM newest
LEFT JOIN gone
  ON newest.gcs_bucket = gone.gcs_bucket
  AND newest.gcs_path = gone.gcs_path
  AND newest.generation IS NOT DISTINCT FROM gone.generation
  AND IF(newest.generation IS NULL, newest.upload_timestamp, NULL) IS NOT DISTINCT FROM gone.upload;
