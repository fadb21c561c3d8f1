// What the checks have in common: each is a function; one line says what became of it.
export const template = process.env.QILA_SDK_TEMPLATE ?? 'base'
const only = process.env.QILA_SDK_ONLY ?? ''
// Longest that one check takes, in milliseconds.
const patience = 90_000

export class Skip extends Error {}

const late = () => {
  let timer
  const promise = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error(`the check took more than ${patience} ms`)), patience)
  })
  return { promise, stop: () => clearTimeout(timer) }
}

/// Makes the checks one after the other, and says what became of each.
export async function main(part, checks) {
  for (const check of checks) {
    const name = `${part}/${check.name}`
    if (!name.includes(only)) continue
    const begun = performance.now()
    const limit = late()
    let outcome
    try {
      await Promise.race([check(), limit.promise])
      outcome = `ok ${(performance.now() - begun).toFixed(0)} ms`
    } catch (why) {
      outcome =
        why instanceof Skip
          ? `skipped ${why.message}`
          : `failed ${(why?.stack ?? String(why)).split('\n').slice(0, 12).join(' | ')}`
    } finally {
      limit.stop()
    }
    console.log(`check ${name} ${outcome}`)
  }
  console.log(`done ${part}`)
  process.exit(0)
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms))

/// Waits until something is so.
export async function until(isSo, ms = 30_000) {
  const end = performance.now() + ms
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error('it did not become so in time')
    await sleep(20)
  }
}

/// The error that a promise is rejected with.
export async function rejects(kind, promise) {
  let result
  try {
    result = await promise
  } catch (error) {
    if (error instanceof kind) return error
    throw new Error(`${kind.name} was expected, and ${error?.name} came: ${error?.message}`)
  }
  throw new Error(`${kind.name} was expected, and ${JSON.stringify(result)} came`)
}
