// Reads a user's progress from Mesocycle: paste it into the app. The types in api.d.ts are generated from the API's OpenAPI document.
import type { paths, components } from "./api";

export type Problem = components["schemas"]["ProblemDetails"];
type Get<Path extends keyof paths> = paths[Path] extends { get: infer Operation } ? Operation : never;
type Query<Path extends keyof paths> = Get<Path> extends { parameters: { query?: infer Q } } ? Q : never;
type Answer<Path extends keyof paths> = Get<Path> extends { responses: { 200: { content: { "application/json": infer Body } } } }
  ? Body
  : never;
type OfUser = Extract<keyof paths, `${string}/{userId}`>;

/** An answer that isn't one: branch on `problem.type`, it is stable. `retryAfter` is in seconds, where the API names them. */
export class ApiProblem extends Error {
  constructor(
    readonly problem: Problem,
    readonly retryAfter?: number,
  ) {
    super(problem.detail);
  }
}

/** Keeps each answer with its ETag and asks whether it still holds: a 304 costs next to nothing. */
export class Progress {
  private kept = new Map<string, { etag: string; body: unknown }>();

  constructor(
    private readonly baseUrl: string,
    private readonly token: () => Promise<string>,
  ) {}

  /** `read("/api/v1/summary/{userId}", "anna", { range: "30d" })`: path, query and answer are checked by the compiler. */
  async read<Path extends OfUser>(path: Path, userId: string, query: Query<Path> | Record<string, never> = {}): Promise<Answer<Path>> {
    const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null);
    const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
    const url = this.baseUrl + path.replace("{userId}", encodeURIComponent(userId)) + (search ? `?${search}` : "");
    const known = this.kept.get(url);
    const headers: Record<string, string> = { authorization: `Bearer ${await this.token()}` };
    if (known) headers["if-none-match"] = known.etag;
    const answer = await fetch(url, { headers });
    if (answer.status === 304 && known) return known.body as Answer<Path>;
    if (!answer.ok) {
      const after = answer.headers.get("retry-after");
      throw new ApiProblem((await answer.json()) as Problem, after === null ? undefined : Number(after));
    }
    const body = (await answer.json()) as Answer<Path>;
    const etag = answer.headers.get("etag");
    if (etag) this.kept.set(url, { etag, body });
    return body;
  }
}
