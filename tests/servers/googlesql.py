"""
GoogleSQL in place of BigQuery: Google's own analyzer and its reference implementation.

The package zetasql holds both, compiled to WebAssembly. They know the language exactly, and nothing
of the service: no quotas, no permissions, no streaming, no costs.
"""

import contextlib
import ctypes
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import wasmtime
from google.cloud import bigquery
from google.cloud.bigquery.table import Row
from zetasql.core import ServerError, wasm_client
from zetasql.wasi import get_wasm_path
from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2 as service
from zetasql.wasi._pb2.zetasql.proto import options_pb2 as options
from zetasql.wasi._pb2.zetasql.proto.function_pb2 import TableValuedFunctionProto
from zetasql.wasi._pb2.zetasql.proto.simple_catalog_pb2 import SimpleCatalogProto
from zetasql.wasi._pb2.zetasql.public import options_pb2 as language
from zetasql.wasi._pb2.zetasql.public.function_pb2 import (
    ARG_TYPE_FIXED,
    ARG_TYPE_RELATION,
    FunctionEnums,
)
from zetasql.wasi._pb2.zetasql.public.type_pb2 import TypeKind, TypeProto
from zetasql.wasi._pb2.zetasql.public.value_pb2 import ValueProto

# The optional features of the language that our SQL uses. BigQuery has these and many more.
FEATURES = [
    *("ANALYTIC_FUNCTIONS", "ANNOTATION_FRAMEWORK", "BIGNUMERIC_TYPE"),
    *("CREATE_TABLE_CLUSTER_BY", "NUMERIC_TYPE"),
    *("CREATE_TABLE_NOT_NULL", "CREATE_TABLE_PARTITION_BY", "IS_DISTINCT", "JSON_TYPE"),
    *("CREATE_TABLE_FUNCTION", "JSON_MUTATOR_FUNCTIONS", "JSON_VALUE_EXTRACTION_FUNCTIONS"),
    *("LIMIT_IN_AGGREGATE", "NULL_HANDLING_MODIFIER_IN_AGGREGATE"),
    *("ORDER_BY_IN_AGGREGATE", "QUALIFY", "SELECT_STAR_EXCEPT_REPLACE"),
    *("TABLE_VALUED_FUNCTIONS", "WITH_ON_SUBQUERY"),
]
STATEMENTS = [
    *("QUERY", "CREATE_SCHEMA", "CREATE_TABLE", "ALTER_TABLE", "CREATE_VIEW"),
    *("CREATE_TABLE_FUNCTION", "DELETE", "GRANT", "UPDATE"),
]
OPTIONS = ["description", "location"]
LANGUAGE = options.LanguageOptionsProto(
    product_mode=language.PRODUCT_EXTERNAL,  # only the types that BigQuery has
    enabled_language_features=[f"FEATURE_{name}" for name in FEATURES],
    supported_statement_kinds=[f"RESOLVED_{name}_STMT" for name in STATEMENTS],
)
FUNCTIONS = options.ZetaSQLBuiltinFunctionOptionsProto(language_options=LANGUAGE)
EPOCH = datetime.fromtimestamp(0, UTC)
# A call of a table function of a time. In its definition that time is the argument as_of.
NOW = "CAST(NULL AS TIMESTAMP)"
CALL = re.compile(rf"(`[\w.:-]+_at`|\b[\w.]+_at)\((NULL|{re.escape(NOW)}|@\w+|TIMESTAMP '[^']*')\)")
FIELD_TYPES = {"INT64": "INTEGER", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}  # as the API names them

type Config = bigquery.QueryJobConfig | None
type Columns = list[tuple[str, TypeProto]]


class InvalidSql(Exception):
    """GoogleSQL refuses a statement; the message says why and where."""


class CachedConfig(wasmtime.Config):
    """Keeps compiled code in ~/.cache/wasmtime: compiling takes 15 s and 1 GB."""

    def __init__(self) -> None:
        super().__init__()
        with contextlib.suppress(wasmtime.WasmtimeError):  # the folder is read-only
            self.cache = True


class Wasm(wasm_client.WasmClient):  # type: ignore[misc] # the package has no types
    """The package's client, but it copies memory as a whole and not byte by byte."""

    def write_bytes(self, ptr: int, data: bytes) -> None:
        ctypes.memmove(self._address(ptr), data, len(data))

    def read_bytes(self, ptr: int, size: int) -> bytes:
        return ctypes.string_at(self._address(ptr), size)

    def _address(self, ptr: int) -> int:
        return ctypes.addressof(self.memory.data_ptr().contents) + ptr


class GoogleSql:
    """Tables and views in memory, with those methods of `bigquery.Client` that the tests call."""

    def __init__(self, project: str) -> None:
        self.project = project
        wasm_client.Config = CachedConfig  # the client takes no configuration
        self._wasm = Wasm(get_wasm_path())
        self._columns: dict[str, Columns] = {}  # by <dataset>.<table>
        self._views: dict[str, str] = {}
        self._functions: dict[str, tuple[Columns, str]] = {}  # what they return, and their queries
        self._rows: dict[str, Any] = {}  # those of a view only until a table has more

    def create_dataset(self, name: str) -> None:
        """Do nothing: a dataset is there when its tables are."""

    def delete_dataset(self, name: str, *, delete_contents: bool) -> None:
        """Forget the tables and the views of a dataset."""
        assert delete_contents
        for table in [table for table in self._columns if table.startswith(f"{name}.")]:
            for kept in (self._columns, self._views, self._rows):
                kept.pop(table, None)
        functions = self._functions.items()
        self._functions = {key: of for key, of in functions if not key.startswith(f"{name}.")}

    def get_table(self, name: str) -> bigquery.Table:
        """Return a table or a view with its columns."""
        fields = [bigquery.SchemaField(column, *_field(t)) for column, t in self._columns[name]]
        return bigquery.Table(f"{self.project}.{name}", fields)

    def insert_rows_json(
        self, name: str, rows: Sequence[Mapping[str, Any]], row_ids: object = None
    ) -> list[object]:
        """Append rows; like BigQuery, return no errors."""
        del row_ids
        for row in rows:
            cells = [_to_value(row.get(column), t) for column, t in self._columns[name]]
            self._rows[name].table_data.row.add().cell.extend(cells)
        self._rows = {name: rows for name, rows in self._rows.items() if name not in self._views}
        return []

    def query_and_wait(
        self, sql: str, job_config: Config = None, max_results: int | None = None, **_: object
    ) -> Iterator[Row]:
        """Run one query, or statements that define things."""
        if not re.match(r"\s*(SELECT|WITH)\b", sql):
            for _ in self.analyze(sql, job_config):
                pass
            return iter(())
        columns, content = self._evaluate(sql, job_config)
        index = {name: position for position, (name, _) in enumerate(columns)}
        rows = []
        for row in content.table_data.row[:max_results]:
            cells = zip(row.cell, columns, strict=True)
            rows.append(Row(tuple(_to_plain(cell, t) for cell, (_, t) in cells), index))
        return iter(rows)

    def analyze(self, sql: str, job_config: Config = None) -> Iterator[Any]:
        """Yield each statement as GoogleSQL understands it, and define what it defines."""
        position = 0
        while sql := sql.encode()[position:].decode().strip():
            request = service.AnalyzeRequest(
                options=_options(job_config),
                simple_catalog=self._catalog(job_config),
                parse_resume_location={"input": sql},
            )
            answer = self._call("Analyze", request, service.AnalyzeResponse)
            statement = _unpacked(answer.resolved_statement)
            self._define(statement)
            yield statement
            position = answer.resume_byte_position

    def _define(self, statement: Any) -> None:  # noqa: ANN401 - the package has no types
        base = statement.parent
        match type(statement).__name__:
            case "ResolvedCreateViewStmtProto":
                name = _name(base.parent.name_path)
                self._views[name] = base.sql
                self._columns[name] = [(c.name, c.column.type) for c in base.output_column_list]
            case "ResolvedCreateTableFunctionStmtProto":
                columns = [(c.name, c.column.type) for c in statement.output_column_list]
                self._functions[_name(base.name_path)] = (columns, statement.code)
            case "ResolvedCreateTableStmtProto":
                name = _name(base.parent.name_path)
                if name not in self._columns:
                    self._columns[name] = [(c.name, c.type) for c in base.column_definition_list]
                    self._rows[name] = _content()
            case "ResolvedAlterTableStmtProto":
                columns = self._columns[_name(base.name_path)]
                there = {column for column, _ in columns}
                added = [_unpacked(action).column_definition for action in base.alter_action_list]
                columns += [(c.name, c.type) for c in added if c.name not in there]

    def _with_views(self, sql: str, job_config: Config) -> str:
        """
        Replace each call of a table function by a view of its own, with the time filled in.

        The reference implementation has no table functions that are written in SQL.
        """
        times = {"NULL": NOW}
        for parameter, _, time in _parameters(job_config):
            times[f"@{parameter}"] = NOW if time is None else f"TIMESTAMP '{time}'"

        def view_of(call: re.Match[str]) -> str:
            [name] = (
                name
                for name in self._functions
                if call[1].strip("`") in self._spellings(name, job_config)
            )
            columns, code = self._functions[name]
            time = times.get(call[2], call[2])
            view = f"{name}({time})"
            self._columns[view] = columns
            self._views[view] = re.sub(r"\bas_of\b", time, code)
            return f"`{view}`"

        return CALL.sub(view_of, sql)

    def _evaluate(self, sql: str, job_config: Config) -> tuple[Columns, Any]:
        sql = self._with_views(sql, job_config)
        for dataset in {name.partition(".")[0] for name in self._columns}:
            # The service finds the rows of a table only by a name of one part.
            sql = re.sub(rf"(?<![`.\w]){dataset}\.(\w+)", rf"`{dataset}.\1`", sql)
        request = service.EvaluateQueryRequest(
            sql=sql, options=_options(job_config), simple_catalog=self._catalog(job_config)
        )
        for name, kind, value in _parameters(job_config):
            request.params.add(name=name, value=_to_value(value, kind))
        for name in [*self._columns]:  # a view may call a function, which is then one more
            for spelled in self._spellings(name, job_config):
                if re.search(rf"(?<![.\w]){re.escape(spelled)}(?![\w(])", sql):
                    if name not in self._rows:
                        self._rows[name] = self._evaluate(self._views[name], None)[1]
                    request.table_content[spelled].CopyFrom(self._rows[name])
        answer = self._call("EvaluateQuery", request, service.EvaluateQueryResponse)
        columns = [(column.name, column.type) for column in answer.prepared.columns]
        return columns, _content(answer.content)

    def _spellings(self, name: str, job_config: Config) -> list[str]:
        dataset, _, table = name.partition(".")
        default = job_config.default_dataset if job_config else None
        short = [table] if default and default.dataset_id == dataset else []
        return [f"{self.project}.{name}", name, *short]

    def _catalog(self, job_config: Config) -> SimpleCatalogProto:
        """Make a catalog in which each table has all the names that a query may use."""
        catalog = SimpleCatalogProto(builtin_function_options=FUNCTIONS)
        datasets: dict[str, SimpleCatalogProto] = {}
        for name, columns in self._columns.items():
            dataset, _, table = name.partition(".")
            if dataset not in datasets:
                datasets[dataset] = catalog.catalog.add(name=dataset)
            places = [(catalog, spelled) for spelled in self._spellings(name, job_config)]
            for place, spelled in [*places, (datasets[dataset], table)]:
                made = place.table.add(name=spelled)
                for column, kind in columns:
                    made.column.add(name=column, type=kind)
        for name, (columns, _) in self._functions.items():
            dataset, _, function = name.partition(".")
            places = [(catalog, spelled) for spelled in self._spellings(name, job_config)]
            for place, spelled in [*places, (datasets[dataset], function)]:
                place.custom_tvf.append(_function(spelled, columns))
        return catalog

    def _call(self, method: str, request: object, answer: type) -> Any:  # noqa: ANN401 - as above
        try:
            return self._wasm.call_grpc_func(f"ZetaSqlLocalService_{method}", request, answer)
        except ServerError as error:
            raise InvalidSql(error.raw_error.partition("Message: ")[2]) from error


def _name(path: Sequence[str]) -> str:
    """Return `<dataset>.<table>`, without the project."""
    return ".".join(".".join(path).split(".")[-2:])


def _unpacked(message: Any) -> Any:  # noqa: ANN401 - as above
    """Return the statement inside messages that hold one of many kinds."""
    while "node" in message.DESCRIPTOR.oneofs_by_name:
        message = getattr(message, message.WhichOneof("node"))
    return message


def _content(content: Any = None) -> Any:  # noqa: ANN401 - as above
    """Make a table without rows differ from no table."""
    content = content or service.TableContent()
    content.table_data.SetInParent()
    return content


def _function(name: str, columns: Columns) -> TableValuedFunctionProto:
    """Declare a table function of one time."""
    made = TableValuedFunctionProto(name_path=[name])
    made.type = FunctionEnums.FIXED_OUTPUT_SCHEMA_TVF
    argument = made.signature.argument.add(kind=ARG_TYPE_FIXED, num_occurrences=1)
    argument.type.CopyFrom(_type("TIMESTAMP"))
    made.signature.return_type.kind = ARG_TYPE_RELATION
    made.signature.return_type.num_occurrences = 1
    for column, kind in columns:
        made.signature.return_type.options.relation_input_schema.column.add(name=column, type=kind)
    return made


def _options(job_config: Config) -> options.AnalyzerOptionsProto:
    made = options.AnalyzerOptionsProto(language_options=LANGUAGE, default_timezone="UTC")
    made.error_message_mode = language.ERROR_MESSAGE_MULTI_LINE_WITH_CARET
    made.allowed_hints_and_options.disallow_unknown_options = True
    for name in OPTIONS:
        made.allowed_hints_and_options.option.add(name=name, type=_type("STRING"))
    for name, kind, _ in _parameters(job_config):
        made.query_parameters.add(name=name, type=kind)
    return made


def _parameters(job_config: Config) -> Iterator[tuple[str, TypeProto, object]]:
    for parameter in job_config.query_parameters if job_config else ():
        kind = parameter.to_api_repr()["parameterType"]
        if "arrayType" in kind:
            yield parameter.name, _type("ARRAY", of=kind["arrayType"]["type"]), parameter.values
        else:
            yield parameter.name, _type(kind["type"]), parameter.value


def _type(name: str, of: str = "") -> TypeProto:
    made = TypeProto(type_kind=f"TYPE_{name}")
    if of:
        made.array_type.element_type.CopyFrom(_type(of))
    return made


def _field(kind: TypeProto) -> tuple[str, str]:
    repeated = kind.type_kind == TypeKind.TYPE_ARRAY
    name = TypeKind.Name((kind.array_type.element_type if repeated else kind).type_kind)
    name = name.removeprefix("TYPE_")
    return FIELD_TYPES.get(name, name), "REPEATED" if repeated else "NULLABLE"


def _to_value(value: Any, kind: TypeProto) -> ValueProto:  # noqa: ANN401 - as JSON has it
    made = ValueProto()
    match TypeKind.Name(kind.type_kind):
        case _ if value is None:
            pass
        case "TYPE_INT64":
            made.int64_value = int(value)
        case "TYPE_JSON":
            made.json_value = value
        case "TYPE_TIMESTAMP":
            time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
            made.timestamp_value.FromDatetime(time)
        case "TYPE_ARRAY":
            element = kind.array_type.element_type
            made.array_value.element.extend(_to_value(one, element) for one in value)
        case _:
            made.string_value = value
    return made


def _to_plain(value: ValueProto, kind: TypeProto) -> object:
    match value.WhichOneof("value"):
        case None:
            return None
        case "json_value":
            return json.loads(value.json_value)
        case "timestamp_value":
            return EPOCH + timedelta(microseconds=value.timestamp_value.ToMicroseconds())
        case "array_value":
            element = kind.array_type.element_type
            return [_to_plain(one, element) for one in value.array_value.element]
        case "struct_value":
            fields = zip(kind.struct_type.field, value.struct_value.field, strict=True)
            return {field.field_name: _to_plain(one, field.field_type) for field, one in fields}
        case scalar:
            return getattr(value, scalar)
