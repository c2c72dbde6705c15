// drive.js -- drives real browsers for test/browsers.bats, by puppeteer-core.
//
//     node drive.js chromium|firefox PROGRAM
//
// It reads one command a line, and answers each with "ok" or with what was seen instead.
// A page has a name; "open" makes it.  Words are separated by tabs.
//
//     NAME open URL [WIDTH HEIGHT]  a new page, and waits until it has loaded
//     NAME type TEXT                keys, one after the other
//     NAME press KEY                Enter, Tab, ...
//     NAME follow                   the first link
//     NAME sees SELECTOR TEXT       before long an element that is shown has just this text
//     NAME eval SCRIPT              before long the script is true
//     NAME clean                    until now: no error in the console, no request to others
//     NAME close
//     quit                          closes the browser

'use strict';
const readline = require('readline');
const puppeteer = require('puppeteer-core');

const PATIENCE = { timeout: 10000, polling: 50 };
const [kind, program] = process.argv.slice(2);
const pages = {};

const options = {
    chromium: {
        // Its sandbox does not work for root.  The others keep it from calling home.
        args: ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
               '--disable-component-update', '--disable-sync', '--no-proxy-server',
               ...(process.getuid() === 0 ? ['--no-sandbox'] : [])],
    },
    firefox: {
        extraPrefsFirefox: { 'network.proxy.type': 0 },
    },
};

async function open(browser, name, url, width = '800', height = '600') {
    const page = await (await browser.createBrowserContext()).newPage();     // a window of its own
    page.trouble = [];
    page.on('console', m => { if (m.type() === 'error') page.trouble.push(m.text()); });
    page.on('pageerror', e => page.trouble.push(String(e)));
    page.on('request', r => {
        if (new URL(r.url()).host !== new URL(url).host && !r.url().startsWith('data:'))
            page.trouble.push('a request for ' + r.url());
    });
    await page.setViewport({ width: Number(width), height: Number(height) });
    await page.goto(url);
    pages[name] = page;
}

// Runs in the page.
function is_shown(selector, text) {
    return [...document.querySelectorAll(selector)].some(e => e.textContent === text && e.offsetParent !== null);
}

const verbs = {
    type: (page, text) => page.keyboard.type(text),
    press: (page, key) => page.keyboard.press(key),
    follow: page => Promise.all([page.waitForNavigation(), page.click('a')]),
    sees: (page, selector, text) => page.waitForFunction(is_shown, PATIENCE, selector, text),
    eval: (page, script) => page.waitForFunction(script, PATIENCE),
    clean(page) {
        if (page.trouble.length > 0)
            throw new Error(page.trouble.join('; '));
    },
    close: page => page.close(),
};

async function obey(browser, [name, verb, ...words]) {
    if (verb === 'open')
        await open(browser, name, ...words);
    await pages[name].bringToFront();   // a page that is not seen does not look who is online
    if (verb !== 'open')
        await verbs[verb](pages[name], ...words);
}

async function main() {
    const browser = await puppeteer.launch({ browser: kind === 'chromium' ? 'chrome' : kind,
                                             executablePath: program, headless: true, ...options[kind] });
    console.log('ok');
    for await (const line of readline.createInterface({ input: process.stdin })) {
        const words = line.split('\t');
        if (words[0] === 'quit')
            break;
        try {
            await obey(browser, words);
            console.log('ok');
        } catch (e) {
            const text = pages[words[0]] ? await pages[words[0]].evaluate(() => document.body.innerText) : '';
            console.log((e.message + '; the page: ' + text).replace(/\n/g, ' | '));
        }
    }
    await browser.close();
    process.exit(0);
}

main().catch(e => {
    console.log(String(e).replace(/\n/g, ' | '));
    process.exit(1);
});
