-- One row for each model and environment: its highest version, how many versions there are, and how many higher ones dev
-- has. Versions may have gaps, so they are counted. Dev's row comes after the others of its version, so that these do not
-- count it as higher.

CREATE OR REPLACE VIEW `${project}.${dataset}.latest_models`
OPTIONS (description = "One row for each model and environment: its highest version")
AS
SELECT
  *,
  COUNTIF(environment = 'dev') OVER (
    PARTITION BY model_name
    ORDER BY model_version DESC, environment = 'dev'
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
  ) AS versions_behind_dev,
  COUNT(*) OVER (PARTITION BY model_name, environment) AS versions,
  SUM(total_bytes) OVER (PARTITION BY model_name, environment) AS versions_total_bytes
FROM `${project}.${dataset}.model_versions`
WHERE gone_since IS NULL
QUALIFY ROW_NUMBER() OVER (PARTITION BY model_name, environment ORDER BY model_version DESC) = 1;
