const response = await fetch('/asyncapi.yaml')
document.getElementById('source').textContent = await response.text()
