// fastify with pg: a pool, one named (so prepared) statement, one row by key. No token is asked.
import Fastify from "fastify";
import pg from "pg";

const pool = new pg.Pool({ connectionString: process.env.PEER_DATABASE_URL, max: 16 });
const app = Fastify();
app.get("/api/v1/summary/:userId", async (request, reply) => {
  const { rows } = await pool.query({
    name: "summary",
    text: `select p.payload from app.users u join marts.user_payloads p using (user_key) where u.user_id = $1 and p.resource = $2`,
    values: [request.params.userId, `summary/${request.query.range ?? "30d"}`],
  });
  if (rows.length === 0) return reply.code(404).send();
  return reply.header("content-type", "application/json").send(rows[0].payload);
});
await app.listen({ port: Number(process.env.PEER_PORT), host: "127.0.0.1" });
