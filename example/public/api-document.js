/* global AsyncApiStandalone, location */
AsyncApiStandalone.render({
  schema: { url: new URL('/asyncapi.json', location.href).href },
  config: { show: { sidebar: false, errors: true } }
}, document.getElementById('document'))
