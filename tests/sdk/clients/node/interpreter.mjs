// The `@e2b/code-interpreter` package: cells, results, contexts, languages.
import assert from 'node:assert/strict'
import { Sandbox } from '@e2b/code-interpreter'
import { Skip, main, rejects, template } from './common.mjs'

const sandbox = await Sandbox.create(template, { timeoutMs: 600_000 })

// What cannot be there is skipped, and said.
async function has(module) {
  const { stdout } = await sandbox.commands.run(`python3 -c 'import ${module}' 2>/dev/null && echo yes || echo no`)
  if (stdout !== 'yes\n') throw new Skip(`the sandbox's Python has no ${module}`)
}

async function state_across_cells() {
  await has('ipykernel')
  assert.equal((await sandbox.runCode('x = 41')).error, undefined)
  assert.equal((await sandbox.runCode('x += 1\nx')).text, '42')
}

async function output_as_it_comes() {
  await has('ipykernel')
  const seen = []
  const errors = []
  const execution = await sandbox.runCode("import sys, time\nfor n in range(3):\n    print(n, flush=True)\n    time.sleep(0.3)\nprint('e', file=sys.stderr)", {
    onStdout: (m) => void seen.push([performance.now(), m.line]),
    onStderr: (m) => void errors.push(m.line),
  })
  assert.equal(execution.error, undefined)
  assert.equal(seen.map(([, line]) => line).join(''), '0\n1\n2\n')
  assert.ok(seen.at(-1)[0] - seen[0][0] > 400, 'all came at once')
  assert.equal(errors.join(''), 'e\n')
}

async function errors_with_traceback() {
  await has('ipykernel')
  const { error } = await sandbox.runCode('1 / 0')
  assert.equal(error.name, 'ZeroDivisionError')
  // Coloured, as a notebook shows it.
  assert.match(error.traceback.replace(/\x1b\[[0-9;]*m/g, ''), /1 \/ 0/)
}

async function a_picture_and_a_chart() {
  await has('ipykernel')
  await has('matplotlib')
  const { results, error } = await sandbox.runCode("import matplotlib.pyplot as plt\nplt.plot([1, 2, 3], [1, 4, 9])\nplt.title('squares')\nplt.show()")
  assert.equal(error, undefined)
  const picture = results.find((r) => r.png)
  assert.ok(Buffer.from(picture.png, 'base64').subarray(0, 8).equals(Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')))
  assert.equal(picture.chart?.type, 'line')
  assert.equal(picture.chart?.title, 'squares')
}

async function a_table() {
  await has('ipykernel')
  await has('pandas')
  const { results } = await sandbox.runCode("import pandas as pd\npd.DataFrame({'name': ['x', 'y'], 'n': [1, 2]})")
  assert.match(results[0].html, /<table[\s\S]*<td>x<\/td>/)
}

async function contexts() {
  await has('ipykernel')
  const context = await sandbox.createCodeContext({ cwd: '/tmp' })
  await sandbox.runCode("y = 'here'", { context })
  assert.equal((await sandbox.runCode('y', { context })).text, "'here'")
  assert.equal((await sandbox.runCode('y')).error.name, 'NameError')
  assert.ok((await sandbox.listCodeContexts()).some((c) => c.id === context.id))
  await sandbox.removeCodeContext(context)
  assert.ok(!(await sandbox.listCodeContexts()).some((c) => c.id === context.id))
}

async function languages() {
  const bash = await sandbox.runCode('echo from bash', { language: 'bash' })
  assert.equal(bash.logs.stdout.join(''), 'from bash\n')
  const { stdout } = await sandbox.commands.run('command -v node >/dev/null && echo yes || echo no')
  if (stdout !== 'yes\n') throw new Skip('the sandbox has no node')
  assert.equal((await sandbox.runCode('const z = [1, 2, 3]; z.length', { language: 'js' })).text, '3')
}

async function a_cell_that_takes_too_long() {
  await has('ipykernel')
  await rejects(Error, sandbox.runCode('import time; time.sleep(60)', { timeoutMs: 2000 }))
  assert.equal((await sandbox.runCode("'goes on'", { timeoutMs: 30_000 })).text, "'goes on'")
}

async function the_end() {
  assert.equal(await sandbox.kill(), true)
}

await main('node/interpreter', [
  state_across_cells,
  output_as_it_comes,
  errors_with_traceback,
  a_picture_and_a_chart,
  a_table,
  contexts,
  languages,
  a_cell_that_takes_too_long,
  the_end,
])
