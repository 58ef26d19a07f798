-- One row for each model and environment: its highest version, how many versions there are, and how many higher ones dev
-- has. Versions may have gaps, so they are counted. Dev's row comes after the others of its version, so that these do not
-- count it as higher.
--
-- differing_versions are those that differ from the environment before, or never were there: also such as are not the
-- highest.

CREATE OR REPLACE TABLE FUNCTION `${project}.${dataset}.latest_models_at`(as_of TIMESTAMP)
AS (
  SELECT
    *,
    COUNTIF(environment = 'dev') OVER (
      PARTITION BY model_name
      ORDER BY model_version DESC, environment = 'dev'
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS versions_behind_dev,
    COUNT(*) OVER everything AS versions,
    SUM(total_bytes) OVER everything AS versions_total_bytes,
    ARRAY_AGG(
      IF(IFNULL(staging_vs_dev, prod_vs_staging) IN ('different', 'skipped'), model_version, NULL) IGNORE NULLS
    ) OVER (
      PARTITION BY model_name, environment
      ORDER BY model_version DESC
      ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
    ) AS differing_versions
  FROM `${project}.${dataset}.model_versions_at`(as_of)
  WHERE removed_at IS NULL
  QUALIFY ROW_NUMBER() OVER (PARTITION BY model_name, environment ORDER BY model_version DESC) = 1
  WINDOW everything AS (PARTITION BY model_name, environment)
);

CREATE OR REPLACE VIEW `${project}.${dataset}.latest_models`
OPTIONS (description = "One row for each model and environment: its highest version")
AS SELECT * FROM `${project}.${dataset}.latest_models_at`(NULL);
