// GitHub's own parser and evaluator behind JSON lines: one request per line in, one answer per line
// out. Its duty is to hand over what these two say; it decides nothing about running anything, and
// an error of theirs is an answer {error, kind}, never a guess.
// Argument: the folder node_modules that holds @actions/workflow-parser and @actions/expressions.
import { register } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

// The packages import JSON as bundlers allow it; node wants to be told that it is JSON.
const hook = `export const load = (url, context, next) =>
  next(url, url.endsWith(".json") ? { ...context, importAttributes: { type: "json" } } : context);`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);

const load = (path) => import(pathToFileURL(join(process.argv[2], path)).href);
const { parseWorkflow, convertWorkflowTemplate, NoOperationTraceWriter } = await load(
  "@actions/workflow-parser/dist/index.js",
);
const { parseAction } = await load("@actions/workflow-parser/dist/actions/action-parser.js");
const { convertActionTemplate } = await load("@actions/workflow-parser/dist/actions/action-template.js");
const { TokenType } = await load("@actions/workflow-parser/dist/templates/tokens/types.js");
const { data, Evaluator, Lexer, Parser } = await load("@actions/expressions/dist/index.js");
const { TokenType: LexemeType } = await load("@actions/expressions/dist/lexer.js");
const { parseDocument, visit } = await load("yaml/dist/index.js");

// A key that no YAML mapping can have: the parser reads "${{" in a key as an expression.
const EXPRESSION = "${{";
const trace = new NoOperationTraceWriter();
class Unsupported extends Error {}

function plain(token) {
  switch (token.templateTokenType) {
    case TokenType.Sequence:
      return [...token].map(plain);
    case TokenType.Mapping:
      return Object.fromEntries(
        [...token].map(({ key, value }) => {
          if (key.isExpression) throw new Unsupported(`an expression as a key: ${key}`);
          return [key.toString(), plain(value)];
        }),
      );
    case TokenType.BasicExpression:
      return { [EXPRESSION]: token.expression };
    case TokenType.Null:
      return null;
    case TokenType.String:
    case TokenType.Number:
    case TokenType.Boolean:
      return token.value;
    default:
      throw new Unsupported(`the token ${token.typeName()}`);
  }
}

function refuseErrors(context) {
  const errors = context.errors.getErrors();
  if (errors.length) throw new Error(errors.map((error) => error.message).join("\n"));
}

// Conditions as the converter completes them (success() && ...), and the ids that it gives to steps.
function complete(steps, converted) {
  steps?.forEach((step, index) => {
    step.id = converted[index].id || `__${index + 1}`;
    step.if = { [EXPRESSION]: converted[index].if.expression };
  });
}

// The parser takes a text over several lines as it stands in the file, indentation and all, when
// there is an expression in it. GitHub does not; so such texts are written in one line first. The
// file itself is parsed before, for errors that name its lines.
function inOneLine(content) {
  const document = parseDocument(content);
  visit(document, {
    Scalar: (key, node) => {
      if (typeof node.value === "string" && node.value.includes("\n")) node.type = "QUOTE_DOUBLE";
    },
  });
  return document.toString({ lineWidth: 0, doubleQuotedMinMultiLineLength: content.length + 1 });
}

async function workflow({ name, content }) {
  refuseErrors(parseWorkflow({ name, content }, trace).context);
  const result = parseWorkflow({ name, content: inOneLine(content) }, trace);
  refuseErrors(result.context);
  const template = await convertWorkflowTemplate(result.context, result.value);
  refuseErrors(result.context);
  const tree = plain(result.value);
  for (const job of template.jobs) {
    const target = tree.jobs[job.id.value];
    target.if = { [EXPRESSION]: job.if.expression };
    complete(target.steps, job.steps);
  }
  return { ...tree, on: template.events };
}

function action({ name, content }) {
  refuseErrors(parseAction({ name, content }, trace).context);
  const result = parseAction({ name, content: inOneLine(content) }, trace);
  refuseErrors(result.context);
  const template = convertActionTemplate(result.context, result.value);
  refuseErrors(result.context);
  const tree = plain(result.value);
  if (tree.runs.using !== "composite") throw new Unsupported(`an action using ${tree.runs.using}`);
  complete(tree.runs.steps, template.runs.steps);
  return tree;
}

function functionsOf(status) {
  const functions = new Map();
  for (const [name, value] of Object.entries(status ?? {})) {
    const call = () => new data.BooleanData(value);
    functions.set(name, { name, minArgs: 0, maxArgs: 0, call });
  }
  const call = () => {
    throw new Unsupported("hashFiles()");
  };
  functions.set("hashfiles", { name: "hashFiles", minArgs: 1, maxArgs: 255, call });
  return functions;
}

const revive = (value) => JSON.parse(JSON.stringify(value), data.reviver);
const lower = (value) => JSON.parse(JSON.stringify(value, data.replacer));
const isExpression = (value) => Object.hasOwn(value, EXPRESSION);

// The lexer undoes only the first doubled quote of a text; GitHub undoes all of them.
const lexemes = (expression) =>
  new Lexer(expression).lex().tokens.map((token) =>
    token.type === LexemeType.STRING
      ? { ...token, value: token.lexeme.slice(1, -1).replaceAll("''", "'") }
      : token,
  );

function evaluator(contexts, status) {
  const known = revive(contexts);
  const functions = functionsOf(status);
  const infos = [...functions.values()];
  return (expression) => {
    const tree = new Parser(lexemes(expression), Object.keys(contexts), infos).parse();
    return new Evaluator(tree, known, functions).evaluate();
  };
}

// The value as expression data: what is no expression stays as it is.
function resolve(value, evaluate) {
  if (value === null || typeof value !== "object") return revive(value);
  if (Array.isArray(value)) return new data.Array(...value.map((item) => resolve(item, evaluate)));
  if (isExpression(value)) return evaluate(value[EXPRESSION]);
  const pairs = Object.entries(value);
  return new data.Dictionary(
    ...pairs.map(([key, item]) => ({ key, value: resolve(item, evaluate) })),
  );
}

function scalar(found, where) {
  if (found.primitive) return found.coerceString();
  throw new Error(`a mapping or a sequence where text is expected${where}`);
}

const shapes = {
  value: lower,
  text: (found) => scalar(found, ""),
  truth: (found) => {
    if (found.kind === data.Kind.String) return found.value.length > 0;
    if (found.kind === data.Kind.Number) return Boolean(found.value);
    return found.kind === data.Kind.Boolean ? found.value : found.kind !== data.Kind.Null;
  },
  texts: (found) => {
    if (found.kind === data.Kind.Null) return {};
    if (found.kind !== data.Kind.Dictionary) throw new Error("no mapping where one is expected");
    return Object.fromEntries(
      found.pairs().map(({ key, value }) => [key, scalar(value, ` at ${key}`)]),
    );
  },
};

const answers = {
  workflow,
  action,
  resolve: ({ value, shape, contexts, status }) =>
    shapes[shape](resolve(value, evaluator(contexts, status))),
};

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const request = JSON.parse(line);
    answer = { value: await answers[request.ask](request) };
  } catch (error) {
    answer = { error: error.message, kind: error instanceof Unsupported ? "unsupported" : "wrong" };
    for (let cause = error.cause; cause; cause = cause.cause) answer.error += `: ${cause.message}`;
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
