-- The reconciliation's access: it reads what is registered, and appends to both tables.

GRANT `roles/bigquery.dataViewer` ON SCHEMA `${project}`.${dataset} TO "${member}";
GRANT `roles/bigquery.dataEditor` ON TABLE `${project}`.${dataset}.`${table}` TO "${member}";
GRANT `roles/bigquery.dataEditor` ON TABLE `${project}`.${dataset}.removals TO "${member}";
