#!/usr/bin/env node
// A plugin in JavaScript. Each word list in $WORDLISTS_HOME/*.json has an installed and an available version.
import { readFileSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

const home = process.env.WORDLISTS_HOME ?? join(homedir(), ".wordlists");
const options = JSON.parse(process.env.UPDATE_ALL_OPTIONS ?? "{}");
const say = (type, fields = {}) => console.log(JSON.stringify({ type, ...fields }));

function lists() {
  const skipped = new Set(options.skip ?? []);
  return readdirSync(home)
    .filter((file) => file.endsWith(".json") && !skipped.has(file.slice(0, -5)))
    .map((file) => ({ item: file.slice(0, -5), file: join(home, file), ...JSON.parse(readFileSync(join(home, file))) }));
}

function describe() {
  say("plugin", {
    name: "wordlists",
    description: "Word lists for games",
    detect: { paths: [home] },
    after: ["fortunes"],
    steps: [{ name: "update", description: "Update all word lists", mutexes: ["wordlists"], timeout: "10m" }],
  });
  say("end");
}

function check() {
  const outdated = lists().filter((list) => list.installed !== list.available);
  for (const { item, installed } of lists()) say("installed", { item, version: installed });
  for (const { item, installed, available } of outdated) say("update", { item, old: installed, new: available });
  say("end", { status: outdated.length ? "updates" : "up-to-date" });
}

function run(step) {
  if (step !== "update") {
    say("end", { status: "failed", message: `there is no step ${step}` });
    process.exit(1);
  }
  const outdated = lists().filter((list) => list.installed !== list.available);
  outdated.forEach(({ item, file, installed, available }, index) => {
    say("progress", { items: index, "items-total": outdated.length, message: item });
    writeFileSync(`${file}.new`, JSON.stringify({ installed: available, available }));
    renameSync(`${file}.new`, file);
    say("change", { item, old: installed, new: available });
  });
  say("end", { status: outdated.length ? "done" : "up-to-date" });
}

// The end of a line must be written before the program ends, also when it is cancelled.
process.on("SIGTERM", () => process.exit(143));
const questions = { describe, check, run };
const [question, step] = process.argv.slice(2);
if (!(question in questions)) {
  console.error("usage: wordlists.mjs describe | check | run STEP");
  process.exit(2);
}
say("hello", { protocol: 1 });
questions[question](step);
