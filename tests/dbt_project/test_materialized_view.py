"""The materialisation in a project of its own: readers who hammer the view see no error and no wait, whatever is rebuilt."""

import shutil

import pytest

from database.connection import Role, connect
from orchestration.dbt import DBT_PROJECT
from tests.dbt_project.reader import Reader
from tests.dbt_project.support import DbtFailed, run_dbt

ROWS = 30_000
PROJECT_FILE = """
name: small
version: "1.0.0"
profile: mesocycle
flags: {send_anonymous_usage_stats: false}
models:
  small:
    +persist_docs: {relation: true, columns: true}
"""
CHILD = """
{{{{ config(materialized="materialized_view", indexes=[{{"columns": ["id"], "unique": true}}, {{"columns": ["grp"]}}]{options}) }}}}
select id, grp, {expression} as amount from {{{{ ref("parent") }}}}
"""
SCHEMA = """
models:
  - name: child
    description: One row per id.
    config: {contract: {enforced: true}}
    columns:
      - {name: id, data_type: bigint, description: The key.}
      - {name: grp, data_type: integer, description: A group.}
      - {name: amount, data_type: bigint, description: An amount.}
"""


class Project:
    """A dbt project that has nothing of Mesocycle's but the two macro folders."""

    def __init__(self, folder, database):
        self.folder, self.database = folder, database
        (folder / "models").mkdir()
        (folder / "dbt_project.yml").write_text(PROJECT_FILE)
        shutil.copytree(DBT_PROJECT / "macros" / "materialized_view", folder / "macros" / "materialized_view")
        (folder / "models" / "schema.yml").write_text(SCHEMA)
        self.parent()
        self.child()

    def parent(self, materialized="table", extra=""):
        (self.folder / "models" / "parent.sql").write_text(
            f'{{{{ config(materialized="{materialized}") }}}} select id, grp, amount{extra} from public.raw'
        )

    def child(self, expression="amount", options=""):
        (self.folder / "models" / "child.sql").write_text(CHILD.format(expression=expression, options=options and ", " + options))

    def run(self, *arguments, **options):
        return run_dbt(self.database, "run", *arguments, project=self.folder, **options)


@pytest.fixture
def project(database, tmp_path):
    with database.connect() as connection:
        connection.execute(
            f"create table public.raw as select n as id, (n % 7)::int as grp, n * 10 as amount from generate_series(1::bigint, {ROWS}) n"
        )
    made = Project(tmp_path, database)
    made.run()
    return made


def one(database, query):
    with database.connect() as connection:
        return connection.execute(query).fetchone()


def reader_of(database):
    return Reader(database.urls[Role.ANALYST], "select count(*) from marts.child where id <= 50")


LONGEST_WAIT_SECONDS = 0.25


def test_readers_notice_neither_refresh_nor_new_definition_nor_full_rebuild_of_parent_and_child(project):
    with reader_of(project.database) as first, reader_of(project.database) as second:
        for step in range(3):
            with project.database.connect() as connection:
                connection.execute("update public.raw set amount = amount + 1")
            project.run()
            project.child(expression=f"amount + {step}")
            project.run()
            project.run("--full-refresh")
            project.parent(extra=f", {step} as more")
            project.run()
    for reader in (first, second):
        assert reader.errors == []
        assert len(reader.waits) > 100 and max(reader.waits) < LONGEST_WAIT_SECONDS
        assert reader.answers == [50]
    assert one(project.database, "select amount from marts.child where id = 1") == (10 + 3 + 2,)


def test_the_swap_drops_no_file_and_its_commit_waits_for_no_disk(project):
    with connect(project.database.admin_url, autocommit=True) as admin:
        admin.execute(
            """
            create table public.seen (tag text, xid xid8, synchronous_commit text);
            grant insert on public.seen to public;
            create function public.see() returns event_trigger language plpgsql as $$ begin
                insert into public.seen values (tg_tag, pg_current_xact_id(), current_setting('synchronous_commit'));
            end $$;
            create event trigger drops on sql_drop execute function public.see();
            create event trigger changes on ddl_command_end when tag in ('ALTER MATERIALIZED VIEW', 'ALTER TABLE') execute function public.see();
            """
        )
        project.run("--full-refresh")
        seen = admin.execute("select tag, xid, synchronous_commit from public.seen").fetchall()
    renames = {xid: setting for tag, xid, setting in seen if tag.startswith("ALTER")}
    drops = {xid for tag, xid, _ in seen if tag.startswith("DROP")}
    assert len(renames) >= 2 and set(renames.values()) == {"off"}
    assert drops and not drops & renames.keys()


def test_changed_sql_takes_effect_although_the_view_exists(project):
    project.child(expression="amount * 2")
    project.run("--select", "child")
    assert one(project.database, "select amount from marts.child where id = 3") == (60,)


def test_a_rebuilt_parent_leaves_no_old_relation_behind(project):
    project.run("--full-refresh")
    project.parent(materialized="view")
    project.run()
    project.parent()
    project.run()
    assert one(project.database, "select count(*) from pg_class where relname ~ '__(retired|candidate)'") == (0,)


def test_an_untouched_child_goes_on_serving_while_only_its_parent_is_rebuilt(project):
    project.run("--select", "parent", "--full-refresh")
    assert one(project.database, "select count(*) from marts.child") == (ROWS,)
    with project.database.connect() as connection:
        connection.execute("update public.raw set amount = 0")
    project.run("--select", "parent")
    project.run("--select", "child")
    assert one(project.database, "select max(amount) from marts.child") == (0,)
    assert one(project.database, "select count(*) from pg_class where relname ~ '__retired'") == (0,)


def test_a_small_view_is_refreshed_in_place_and_a_large_one_is_swapped(project):
    before = one(project.database, "select 'marts.child'::regclass::oid")
    project.run("--select", "child")
    swapped = one(project.database, "select 'marts.child'::regclass::oid")
    project.child(options="concurrently_up_to_rows=100000")
    project.run("--select", "child")
    refreshed = one(project.database, "select 'marts.child'::regclass::oid")
    assert before != swapped == refreshed


def test_only_a_view_that_is_always_built_aside_is_spared_autovacuum(project):
    options = "select reloptions from pg_class where oid = 'marts.child'::regclass"
    assert one(project.database, options) == (["autovacuum_enabled=false"],)
    project.child(expression="amount + 1", options="concurrently_up_to_rows=100000")
    project.run("--select", "child")
    assert one(project.database, options) == (None,)


def test_an_unchanged_view_is_left_alone_until_its_parent_is_rebuilt(project):
    project.parent(materialized="view")
    project.run()
    found = {node.node.name: node.message for node in project.run().result.results}
    assert found["parent"] == "unchanged"
    project.parent(materialized="view", extra=", 1 as more")
    found = {node.node.name: node.message for node in project.run().result.results}
    assert found["parent"] == "CREATE VIEW"


def test_a_view_that_dbt_dropped_with_its_seed_in_a_full_refresh_is_made_again(project):
    (project.folder / "dbt_project.yml").write_text(
        PROJECT_FILE + "on-run-start: ['{% if execute %}{% do look_at_relations() %}{% endif %}']\n"
    )
    (project.folder / "seeds").mkdir()
    (project.folder / "seeds" / "names.csv").write_text("id,name\n1,one\n")
    (project.folder / "models" / "named.sql").write_text('{{ config(materialized="view") }} select id, name from {{ ref("names") }}')
    for _ in range(2):
        run_dbt(project.database, "build", "--full-refresh", "--select", "names+", project=project.folder)
        assert one(project.database, "select name from marts.named") == ("one",)


def test_a_view_that_other_views_read_is_refreshed_in_place(project):
    with project.database.connect() as connection:
        connection.execute("create view public.dashboard as select sum(amount) as total from marts.child")
        connection.execute("update public.raw set amount = 1")
    project.run("--select", "parent+")
    project.run("--select", "child")
    assert one(project.database, "select sum(amount) from marts.child") == (ROWS,)


def test_nothing_is_done_while_the_source_version_stays(project):
    project.child(options='source_version="select max(amount) from public.raw"')
    project.run("--select", "child")
    oid = one(project.database, "select 'marts.child'::regclass::oid")
    project.run("--select", "child")
    assert one(project.database, "select 'marts.child'::regclass::oid") == oid
    with project.database.connect() as connection:
        connection.execute("update public.raw set amount = amount + 5")
    project.run()
    assert one(project.database, "select amount from marts.child where id = 1") == (15,)


def test_indexes_grants_and_comments_survive_a_swap(project):
    with project.database.connect() as connection:
        connection.execute("revoke select on marts.child from mesocycle_analyst")
        connection.execute("grant select on marts.child to mesocycle_pipeline with grant option")
    grants = "select array_agg(distinct a.grantee::regrole::text || a.privilege_type || a.is_grantable) from pg_class c, aclexplode(c.relacl) a where c.oid = 'marts.child'::regclass and a.privilege_type = 'SELECT'"
    indexes = "select array_agg(indexname::text order by indexname) from pg_indexes where schemaname = 'marts' and tablename = 'child'"
    comments = "select obj_description('marts.child'::regclass), col_description('marts.child'::regclass, 3)"
    before = [one(project.database, query) for query in (grants, indexes, comments)]
    project.child(expression="amount + 1")
    project.run("--select", "child")
    after = [one(project.database, query) for query in (grants, indexes, comments)]
    assert after[1:] == before[1:] == [(["child_by_grp", "child_by_id"],), ("One row per id.", "An amount.")]
    assert set(before[0][0]) <= set(after[0][0])


def test_a_breach_of_the_contract_is_refused_and_the_old_view_serves(project):
    project.child(expression="amount::text")
    with pytest.raises(DbtFailed, match="amount: contract bigint at 3, model text at 3"):
        project.run("--select", "child")
    assert one(project.database, "select amount from marts.child where id = 1") == (10,)
    assert one(project.database, "select count(*) from pg_class where relname ~ '__candidate'") == (0,)


@pytest.mark.parametrize("refresh", ["swap", "concurrently"])
def test_a_failed_audit_stops_the_build_before_readers_see_it(project, refresh):
    project.child(
        options=f'refresh="{refresh}", audits=[{{"name": "amounts are positive", "sql": "select id from {{relation}} where amount < 0"}}]'
    )
    project.run("--select", "child")
    with project.database.connect() as connection:
        connection.execute("update public.raw set amount = -1 where id = 17")
    project.run("--select", "parent")
    with pytest.raises(DbtFailed, match=r"amounts are positive.*17"):
        project.run("--select", "child")
    assert one(project.database, "select amount from marts.child where id = 17") == (170,)


def test_an_open_transaction_is_neither_killed_nor_does_it_make_readers_queue(project):
    project.parent(materialized="view")  # a view stays as it is, so nothing but the rows of the child has to change
    project.child(options='refresh="swap", refresh_instead_after_seconds=1')
    project.run()
    with project.database.connect(Role.ANALYST, autocommit=False) as analyst, reader_of(project.database) as reader:
        analyst.execute("begin; select count(*) from marts.child")
        with project.database.connect() as connection:
            connection.execute("update public.raw set amount = amount + 1")
        project.run()
        assert one(project.database, "select amount from marts.child where id = 1") == (11,)
        assert analyst.execute("select 1").fetchone() == (1,)
    assert reader.errors == [] and max(reader.waits) < LONGEST_WAIT_SECONDS


def test_without_a_unique_index_the_message_says_what_to_write(project):
    (project.folder / "models" / "child.sql").write_text(
        '{{ config(materialized="materialized_view") }} select id from {{ ref("parent") }}'
    )
    with pytest.raises(DbtFailed, match="needs a unique index"):
        project.run("--select", "child")
