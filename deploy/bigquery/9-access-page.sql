-- The page's access: it reads the views and the tables under them.

GRANT `roles/bigquery.dataViewer` ON SCHEMA `${project}`.${dataset} TO "${member}";
